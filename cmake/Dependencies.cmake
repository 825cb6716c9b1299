# Every library that Sightline links, in one place. Debian 12 packages unless said otherwise;
# docs/third_party.md lists versions and licences.

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(absl REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(CURL 7.88 REQUIRED)
find_package(Eigen3 REQUIRED NO_MODULE)
find_package(nlohmann_json REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(CLI11 REQUIRED)
find_package(simdjson REQUIRED)
find_package(Protobuf 3.21 REQUIRED)
find_program(PROTOC protoc REQUIRED)
find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)
find_package(ZLIB REQUIRED)
find_package(Boost 1.74 REQUIRED)  # headers alone: Beast, Asio
pkg_check_modules(HIREDIS REQUIRED IMPORTED_TARGET hiredis)
# Its -D_FILE_OFFSET_BITS=64 changes nothing here and keeps the precompiled headers from being used.
set_target_properties(PkgConfig::HIREDIS PROPERTIES INTERFACE_COMPILE_OPTIONS "")
pkg_check_modules(YAML_CPP REQUIRED IMPORTED_TARGET yaml-cpp)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)
pkg_check_modules(TURBOJPEG REQUIRED IMPORTED_TARGET libturbojpeg)
pkg_check_modules(PNG REQUIRED IMPORTED_TARGET libpng)
pkg_check_modules(WEBP REQUIRED IMPORTED_TARGET libwebp)
pkg_check_modules(LIBAV REQUIRED IMPORTED_TARGET libavformat libavcodec libavutil libswscale)

# Debian's OpenCV config file comes only with libopencv-dev, which pulls in a gigabyte (VTK, Java);
# the single parts need no more than a header path and a library each.
find_path(OPENCV_INCLUDE opencv2/core.hpp PATH_SUFFIXES opencv4 REQUIRED)
foreach(part core imgproc objdetect video)
  find_library(OPENCV_${part}_LIBRARY opencv_${part} REQUIRED)
  add_library(opencv::${part} INTERFACE IMPORTED)
  target_include_directories(opencv::${part} SYSTEM INTERFACE ${OPENCV_INCLUDE})
  target_link_libraries(opencv::${part} INTERFACE ${OPENCV_${part}_LIBRARY})
endforeach()

# Debian's gRPCConfig.cmake wants the headers of everything that gRPC is made of.
add_library(grpc::server INTERFACE IMPORTED)
foreach(part grpc++_reflection grpc++ grpc gpr)
  find_library(GRPC_${part}_LIBRARY ${part} REQUIRED)
  target_link_libraries(grpc::server INTERFACE ${GRPC_${part}_LIBRARY})
endforeach()
target_link_libraries(grpc::server INTERFACE protobuf::libprotobuf absl::synchronization)

# Only for RTSP servers: that of `sightline sim serve`, loaded at run time, and the tests' own.
pkg_check_modules(GSTREAMER_RTSP IMPORTED_TARGET gstreamer-rtsp-server-1.0 gstreamer-app-1.0 gio-2.0)

if(SIGHTLINE_TESTS)
  find_package(GTest REQUIRED)
  find_package(rapidcheck REQUIRED CONFIG)
endif()
if(SIGHTLINE_BENCHMARKS)
  find_package(benchmark REQUIRED)
endif()
