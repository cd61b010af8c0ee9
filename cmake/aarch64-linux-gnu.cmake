# Toolchain file: compiles for 64-bit ARM on another Debian machine (docs/development.md says with which packages).
#   cmake -S . -B build/aarch64 -G Ninja -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

# Debian's multiarch puts the libraries of both machines below /usr/lib, so pkg-config has to be told which ones are meant.
set(ENV{PKG_CONFIG_LIBDIR} /usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig)

# What the extension is called for that machine's Python, which cannot be asked.
file(GLOB servoir_python_headers /usr/include/aarch64-linux-gnu/python3.*/pyconfig.h)
if(servoir_python_headers MATCHES "/python3\\.([0-9]+)/")
  set(PYTHON_MODULE_EXTENSION .cpython-3${CMAKE_MATCH_1}-aarch64-linux-gnu.so CACHE INTERNAL "")
endif()

# With an emulator the tests can be run as well: ctest, and CMake when it lists them, put it before their names.
find_program(SERVOIR_EMULATOR qemu-aarch64-static)
if(SERVOIR_EMULATOR)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${SERVOIR_EMULATOR})
endif()
