# SERVOIR_SYNTAX_ONLY: the compiler reads every file and tells its warnings, but makes no code; where an object, a library or a
# program would come there is an empty file, so that a later run reads only what has changed since. Costs a third of a build.
set(CMAKE_CXX_COMPILE_OBJECT
    "<CMAKE_CXX_COMPILER> <DEFINES> <INCLUDES> <FLAGS> -fsyntax-only <SOURCE>"
    "${CMAKE_COMMAND} -E touch <OBJECT>")
set(CMAKE_CXX_CREATE_STATIC_LIBRARY "${CMAKE_COMMAND} -E touch <TARGET>")
foreach(kind CREATE_SHARED_LIBRARY CREATE_SHARED_MODULE LINK_EXECUTABLE)
  set(CMAKE_CXX_${kind} "${CMAKE_COMMAND} -E touch <TARGET>")
endforeach()
set(CMAKE_GTEST_DISCOVER_TESTS_DISCOVERY_MODE PRE_TEST)  # there is no program to ask for its tests
