# Run by CMake right after OpenCV's project(). Cuts the time of the build: leaves out the sources that no part of our
# plug-in refers to (found with the linker's map, variants generic and avx2 of 5.0.0; a source that is missed after all is an
# undefined symbol when the plug-in is linked), and compiles with -O1 what no inference spends time in. The linker's choice
# was looked at on x86-64 only, so other machines compile every source.

# servoir_sources(leave_out|keep TARGET NAME…): NAME is a source's, without folder and suffix; "resize" means resize.avx2.cpp too.
function(servoir_sources action target)
  list(TRANSFORM ARGN REPLACE "[.]" "[.]")
  list(JOIN ARGN "|" names)
  get_target_property(sources ${target} SOURCES)
  set(pattern "(^|/)(${names})[.]((sse|avx)[0-9a-z_]*[.])?(c|cc|cpp)$")
  if(action STREQUAL "keep")
    set(kept ${sources})
    list(FILTER kept INCLUDE REGEX "${pattern}")
    list(FILTER sources EXCLUDE REGEX "[.](c|cc|cpp)$")
    list(APPEND sources ${kept})
  else()
    list(FILTER sources EXCLUDE REGEX "${pattern}")
    # OpenCV writes these for AVX whether AVX is among the instruction sets or not; they are called where it is in the baseline.
    if(CPU_BASELINE STREQUAL "SSE3")
      list(FILTER sources EXCLUDE REGEX "[.]avx[.]cpp$")
    endif()
  endif()
  set_property(TARGET ${target} PROPERTY SOURCES ${sources})
endfunction()

function(servoir_reduce)
  foreach(target libprotobuf opencv_flann opencv_geometry opencv_imgproc)
    target_compile_options(${target} PRIVATE -O1)
  endforeach()
  if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
    return()
  endif()
  # Of these so little is left that a precompiled header costs more than it saves.
  set_target_properties(opencv_flann opencv_geometry PROPERTIES DISABLE_PRECOMPILE_HEADERS ON)
  servoir_sources(keep opencv_flann flann)
  servoir_sources(keep opencv_geometry geometry intersection opencl_kernels_geometry)
  servoir_sources(keep opencv_imgproc box_filter.dispatch box_filter filter.dispatch filter resize smooth.dispatch smooth
    sumpixels.dispatch sumpixels templmatch thresh opencl_kernels_imgproc)
  servoir_sources(leave_out opencv_core async batch_distance bindings_utils command_line_parser conjugate_gradient cuda_gpu_mat
    cuda_gpu_mat_nd cuda_host_mem cuda_info cuda_stream directx downhill_simplex gl_core_3_1 hal_internal has_non_zero.dispatch
    has_non_zero kmeans lda lpsolver lut nan_mask.dispatch nan_mask opencl_clblas opencl_clfft opencl_core
    opengl parallel_openmp parallel_tbb pca samples split.dispatch split stl va_intel)
  servoir_sources(leave_out opencv_dnn attr_value.pb buffer caffe_io command context conv_1x1_fast_spv conv_depthwise_3x3_spv
    conv_depthwise_spv conv_implicit_gemm_spv core_bpe dnn dnn_read dnn_utils fence function.pb gemm_spv graph.pb ie_ngraph
    internal layers_rvp052 model nary_eltwise_binary_forward_spv net_cann net_openvino op_base op_cann op_conv op_def.pb
    op_inf_engine op_matmul op_naryEltwise opencv-caffe.pb pipeline registry spv_shader tensor tensor.pb tensor_shape.pb
    tf_graph_simplifier tf_importer tf_io tflite_importer tokenizer types.pb unicode unicode-data versions.pb vk_functions
    vk_loader)
  servoir_sources(leave_out libprotobuf any any_lite bytestream descriptor descriptor.pb descriptor_database dynamic_message
    extension_set_heavy generated_message_reflection io_win32 map map_field message reflection_ops strtod substitute
    text_format tokenizer unknown_field_set wire_format)
endfunction()
cmake_language(DEFER CALL servoir_reduce)
