# Run by CMake right after OpenCV's project(): what no inference spends time in is compiled with -O1, which takes less time.
foreach(target libprotobuf opencv_flann opencv_geometry opencv_imgproc)
  cmake_language(EVAL CODE "cmake_language(DEFER CALL target_compile_options ${target} PRIVATE -O1)")
endforeach()
