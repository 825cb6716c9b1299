# Flags that every target gets, and sightline_module(), by which each folder of src/ becomes a library.

find_program(CCACHE ccache)
if(CCACHE)
  # By default ccache keeps away from files that begin with a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE})
endif()
add_compile_options(-Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers -fno-math-errno)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Those of GCC 12 see what is not there, in the standard library's own headers.
  add_compile_options(-Wno-array-bounds -Wno-restrict -Wno-maybe-uninitialized
                      -Wno-mismatched-new-delete -Wno-stringop-overflow -Wno-stringop-overread)
endif()
add_link_options(-Wl,--as-needed)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  add_compile_options(-Wthread-safety)
endif()
# Instructions beyond this are chosen at run time (Highway), so that one binary serves every machine.
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  add_compile_options(-march=x86-64-v2)
endif()

# The order of float operations is part of the contract (equal results on every instruction set), so no
# multiplication may be fused with an addition where the machine happens to have that.
add_compile_options(-ffp-contract=off)

set(SIGHTLINE_SANITIZE "" CACHE STRING "Value of -fsanitize=, empty for none")
if(SIGHTLINE_SANITIZE)
  add_compile_options(-fsanitize=${SIGHTLINE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SIGHTLINE_SANITIZE})
endif()

# sightline_precompile(TARGET HEADER): the target's files begin with cmake/precompiled/HEADER.h,
# compiled once for all targets that name it: by the first of them, whose flags must be theirs too.
function(sightline_precompile target header)
  if(NOT SIGHTLINE_PCH)
    return()
  endif()
  get_property(owner GLOBAL PROPERTY sightline_precompiled_${header})
  if(owner)
    target_precompile_headers(${target} REUSE_FROM ${owner})
    return()
  endif()
  set_property(GLOBAL PROPERTY sightline_precompiled_${header} ${target})
  target_precompile_headers(${target} PRIVATE ${CMAKE_SOURCE_DIR}/cmake/precompiled/${header}.h)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -fpch-preprocess)  # lets ccache see through it
  endif()
endfunction()

# sightline_module(NAME SOURCES a.cc ... [DEPS module-or-library ...] [TESTS a_test.cc ...]
#                  [TEST_DEPS ...] [LABELS ...])
# Library sightline_NAME with include root src/, and one test program NAME_test of the *_test.cc
# files that stand beside the code.
function(sightline_module name)
  cmake_parse_arguments(M "" "" "SOURCES;DEPS;TESTS;TEST_DEPS;LABELS" ${ARGN})
  if(M_SOURCES)
    add_library(sightline_${name} STATIC ${M_SOURCES})
    sightline_precompile(sightline_${name} common)
    set(visibility PUBLIC)
  else()
    add_library(sightline_${name} INTERFACE)
    set(visibility INTERFACE)
  endif()
  target_include_directories(sightline_${name} ${visibility} ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(sightline_${name} ${visibility} ${M_DEPS})
  if(SIGHTLINE_TESTS AND M_TESTS)
    sightline_test(${name}_test SOURCES ${M_TESTS} DEPS sightline_${name} ${M_TEST_DEPS}
                   LABELS unit ${M_LABELS})
  endif()
endfunction()

# sightline_test(NAME SOURCES ... DEPS ... LABELS ... [TIMEOUT seconds])
# Tests that want real models and media find them under SIGHTLINE_TEST_DATA and skip without it.
function(sightline_test name)
  cmake_parse_arguments(T "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  add_executable(${name} ${T_SOURCES})
  # A test's own code runs for moments and compiles for minutes.
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  sightline_precompile(${name} test)
  target_link_libraries(${name} PRIVATE ${T_DEPS} GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE
    SIGHTLINE_SOURCE_DIR="${CMAKE_SOURCE_DIR}" SIGHTLINE_BINARY_DIR="${CMAKE_BINARY_DIR}")
  add_test(NAME ${name} COMMAND ${name})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 600)
  endif()
  if(SIGHTLINE_SANITIZE)
    math(EXPR T_TIMEOUT "${T_TIMEOUT} * 4")  # slow is not hung
  endif()
  set_tests_properties(${name} PROPERTIES LABELS "${T_LABELS}" TIMEOUT ${T_TIMEOUT})
endfunction()
