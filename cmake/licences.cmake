# The wheel carries copies of these libraries, grafted or compiled in, so it carries their licences, as the distribution has them.
foreach(package libnghttp2 libsimdjson libssl libfmt libspdlog libboost libprotozero)
  set(text /usr/share/doc/${package}-dev/copyright)
  if(EXISTS ${text})
    install(FILES ${text} DESTINATION servoir/licences RENAME ${package}.txt)
  endif()
endforeach()
# pybind11 comes from PyPI when pip builds.
file(GLOB text ${pybind11_DIR}/../../../../pybind11-*.dist-info/licenses/LICENSE /usr/share/doc/pybind11-dev/copyright)
if(text)
  list(GET text 0 text)
  install(FILES ${text} DESTINATION servoir/licences RENAME pybind11.txt)
endif()
