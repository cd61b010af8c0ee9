# Headers compiled once for many files. Most of a file's compile time here goes into reading the standard library, so each
# kind of file (parts, tests, bindings) has its own set; a source still includes what it uses.

# servoir_precompiled_set(NAME [EXECUTABLES] [LIBRARIES targets…] HEADERS headers…): the set NAME, compiled with the options of
# the targets; for executables, or else for what goes into shared objects.
function(servoir_precompiled_set name)
  cmake_parse_arguments(ARG "EXECUTABLES" "" "LIBRARIES;HEADERS" ${ARGN})
  if(NOT SERVOIR_PRECOMPILE)
    return()
  endif()
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${name}.cc)
  file(CONFIGURE OUTPUT ${source} CONTENT "")
  add_library(${name} OBJECT ${source})
  if(ARG_EXECUTABLES)
    set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  endif()
  target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES})
  target_precompile_headers(${name} PRIVATE ${ARG_HEADERS})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${name} PRIVATE -fpch-preprocess)  # ccache asks for it
  endif()
endfunction()

# servoir_use_precompiled(TARGET SET)
function(servoir_use_precompiled target set)
  if(NOT SERVOIR_PRECOMPILE)
    return()
  endif()
  target_precompile_headers(${target} REUSE_FROM ${set})
  get_target_property(position_independent ${set} POSITION_INDEPENDENT_CODE)  # one of the options that have to agree
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ${position_independent})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -fpch-preprocess)
  endif()
endfunction()
