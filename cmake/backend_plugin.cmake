# Plug-ins of native backends: one shared object each (see include/servoir/backend.h).
#
# A plug-in that opens its runtime's library by itself links against nothing of it, and is built where the headers of the
# runtime are found: next to a library directory of SERVOIR_BACKEND_DIRS
# (<site-packages>/openvino/libs has them in ../include), or else in the Python packages of the build's interpreter.

# servoir_backend_headers(VARIABLE): the include directory that has the header of `record`, or VARIABLE-NOTFOUND. `record` is
# the backend's in the catalogue, and `header_places` where the catalogue says that headers are, from a library directory.
function(servoir_backend_headers variable)
  foreach(field header package folder)
    string(JSON ${field} GET "${record}" ${field})
  endforeach()
  set(roots ${SERVOIR_BACKEND_DIRS})
  find_package(Python COMPONENTS Interpreter QUIET)
  if(Python_Interpreter_FOUND)
    execute_process(
      COMMAND ${Python_EXECUTABLE} -c
              "import importlib.util as u; s = u.find_spec('${package}'); print(list(s.submodule_search_locations)[0] if s else '')"
      OUTPUT_VARIABLE package_dir OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(package_dir)
      list(APPEND roots ${package_dir}/${folder})
    endif()
  endif()
  set(${variable} ${variable}-NOTFOUND PARENT_SCOPE)
  foreach(root IN LISTS roots)
    foreach(place IN LISTS header_places)
      if(EXISTS ${root}/${place}/${header})
        get_filename_component(include ${root}/${place} ABSOLUTE)
        set(${variable} ${include} PARENT_SCOPE)
        return()
      endif()
    endforeach()
  endforeach()
endfunction()

# servoir_backend(NAME INCLUDE_DIRECTORY): the plug-in servoir_NAME from the *.cc here and what all plug-ins share. Called in
# cpp/src/backends/NAME.
function(servoir_backend name include)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc ${SERVOIR_PLUGIN_SOURCES}/plugin/*.cc)
  set(exports ${SERVOIR_PLUGIN_SOURCES}/exports.map)
  add_library(servoir_${name} MODULE ${sources})
  target_include_directories(servoir_${name} PRIVATE ${SERVOIR_PLUGIN_SOURCES})
  target_include_directories(servoir_${name} SYSTEM PRIVATE ${include})
  target_link_libraries(servoir_${name} PRIVATE servoir_options servoir_plugin_interface ${CMAKE_DL_LIBS})
  target_link_options(servoir_${name} PRIVATE -Wl,--version-script=${exports})
  set_target_properties(servoir_${name} PROPERTIES LINK_DEPENDS ${exports})
  install(TARGETS servoir_${name} LIBRARY DESTINATION servoir/plugins)
endfunction()
