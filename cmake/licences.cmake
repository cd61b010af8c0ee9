# The wheel carries copies of these libraries, grafted or compiled in, so it carries their licences, as the distribution has them.
foreach(package libnghttp2 libsimdjson libssl libfmt libspdlog libboost libprotozero)
  set(text /usr/share/doc/${package}-dev/copyright)
  if(EXISTS ${text})
    install(FILES ${text} DESTINATION servoir/licences RENAME ${package}.txt)
  endif()
endforeach()
