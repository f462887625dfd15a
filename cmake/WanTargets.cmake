# Helpers that every folder's CMakeLists.txt uses: one library a folder, one program a group of test files.

# Code that computes little: it need not be fast, and compiles in seven tenths of the time so.
function(wan_compile_lightly NAME)
  target_compile_options(${NAME} PRIVATE $<$<CONFIG:Release>:-O1>)
endfunction()

# The files of a light library whose loops must be fast after all.
function(wan_compile_fast)
  set_source_files_properties(${ARGN} PROPERTIES COMPILE_OPTIONS $<$<CONFIG:Release>:-O3> SKIP_PRECOMPILE_HEADERS ON)
endfunction()

# What nearly all sources include is precompiled: a third of a small library's time. Once as HEADERS, wan_headers for light libraries and
# wan_fast_headers for the others: GCC takes none of another level of optimization.
function(wan_precompile_headers NAME HEADERS)
  if(NOT CMAKE_UNITY_BUILD)  # each file is to be read alone
    return()
  endif()
  if(NOT TARGET ${HEADERS})
    add_library(${HEADERS} OBJECT ${PROJECT_SOURCE_DIR}/cmake/no_source.cpp)
    if(HEADERS STREQUAL wan_headers)
      wan_compile_lightly(${HEADERS})
    endif()
    target_include_directories(${HEADERS} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
    target_link_libraries(${HEADERS} PRIVATE wan_options fmt::fmt)
    target_precompile_headers(${HEADERS} PRIVATE
      <algorithm> <array> <atomic> <chrono> <cmath> <cstring> <filesystem> <functional> <map> <memory> <mutex> <optional> <set> <span> <string>
      <string_view> <utility> <variant> <vector> <fmt/format.h> ${PROJECT_SOURCE_DIR}/src/base/error.h)
  endif()
  target_precompile_headers(${NAME} REUSE_FROM ${HEADERS})
endfunction()

# wan_library(NAME [LIGHT] SOURCES a.cpp ... DEPENDS targets ... PRIVATE_DEPENDS targets ...)
# A static library `NAME`; DEPENDS are what its headers include, PRIVATE_DEPENDS what only its .cpp files do. LIGHT: see
# wan_compile_lightly.
function(wan_library NAME)
  cmake_parse_arguments(ARG "LIGHT" "" "SOURCES;DEPENDS;PRIVATE_DEPENDS" ${ARGN})
  add_library(${NAME} STATIC ${ARG_SOURCES})
  if(ARG_LIGHT)
    wan_compile_lightly(${NAME})
    wan_precompile_headers(${NAME} wan_headers)
  else()
    wan_precompile_headers(${NAME} wan_fast_headers)
  endif()
  target_include_directories(${NAME} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>
                                            $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>)
  target_link_libraries(${NAME} PUBLIC ${ARG_DEPENDS} PRIVATE wan_options ${ARG_PRIVATE_DEPENDS})
endfunction()

# What every target of tests is compiled with. Their linker is gold where there is one: it takes a fifth of the other's time.
include(CheckLinkerFlag)
check_linker_flag(CXX -fuse-ld=gold WAN_HAVE_GOLD)
function(wan_test_options NAME)
  target_include_directories(${NAME} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(${NAME} PRIVATE WAN_SOURCE_DIR="${PROJECT_SOURCE_DIR}" WAN_GOLDEN_DIR="${WAN_GOLDEN_DIR}")
  add_dependencies(${NAME} golden_files)
  target_link_libraries(${NAME} PRIVATE wan_options ${ARGN} GTest::gtest)
  if(WAN_HAVE_GOLD AND NOT WAN_WITH_CUDA)
    target_link_options(${NAME} PRIVATE -fuse-ld=gold)
  endif()
endfunction()

# Of test code that runs for long itself, and of the other, which runs for moments, or calls what is compiled for speed, and compiles in
# half of the time when it is not made fast. -fPIE, as programs have, also for objects: GCC takes no precompiled header of another kind of code.
set(WAN_BUSY_TEST $<$<CONFIG:Release,RelWithDebInfo>:-O1>)
set(WAN_IDLE_TEST $<$<CONFIG:Release,RelWithDebInfo>:-O0> -fPIE)

# wan_compile_test(NAME): a program of idle tests, or objects for programs. What many include is precompiled, once for all: half of the
# compiling of small ones.
function(wan_compile_test NAME)
  target_compile_options(${NAME} PRIVATE ${WAN_IDLE_TEST})
  if(NOT CMAKE_UNITY_BUILD)  # each file is to be read alone
    return()
  endif()
  if(NOT TARGET wan_test_headers)
    add_library(wan_test_headers OBJECT ${PROJECT_SOURCE_DIR}/cmake/no_source.cpp)
    wan_test_options(wan_test_headers wan_weights)
    target_compile_options(wan_test_headers PRIVATE ${WAN_IDLE_TEST})
    set(headers base/error.h ops/backend.h ops/exec_context.h weights/checkpoint.h)
    list(TRANSFORM headers PREPEND ${PROJECT_SOURCE_DIR}/src/)
    target_precompile_headers(wan_test_headers PRIVATE <gtest/gtest.h> <algorithm> <array> <cmath> <cstring> <filesystem> <fstream> <functional>
                                                       <limits> <map> <thread> ${headers})
  endif()
  target_precompile_headers(${NAME} REUSE_FROM wan_test_headers)
endfunction()

# wan_test_objects(NAME SOURCES a_test.cpp ... DEPENDS targets ...)
# Test files that several tests have in common, compiled once; $<TARGET_OBJECTS:NAME> is among those tests' sources.
function(wan_test_objects NAME)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  if(WAN_BUILD_TESTS)
    add_library(${NAME} OBJECT ${ARG_SOURCES})
    wan_test_options(${NAME} ${ARG_DEPENDS})
    wan_compile_test(${NAME})
  endif()
endfunction()

# wan_test(NAME [BUSY] SOURCES a_test.cpp ... DEPENDS targets ... LABELS unit|parity|format|distributed)
# A GoogleTest executable, registered with ctest under NAME and its labels. The code of a BUSY one runs for long.
function(wan_test NAME)
  cmake_parse_arguments(ARG "BUSY" "" "SOURCES;DEPENDS;LABELS" ${ARGN})
  if(NOT WAN_BUILD_TESTS)
    return()
  endif()
  add_executable(${NAME} ${ARG_SOURCES})
  if(ARG_BUSY)
    target_compile_options(${NAME} PRIVATE ${WAN_BUSY_TEST})
  else()
    wan_compile_test(${NAME})
  endif()
  wan_test_options(${NAME} ${ARG_DEPENDS} GTest::gtest_main)
  add_test(NAME ${NAME} COMMAND ${NAME})
  set_tests_properties(${NAME} PROPERTIES
    LABELS "${ARG_LABELS}" TIMEOUT 600
    ENVIRONMENT OMP_WAIT_POLICY=passive)  # tests run side by side: threads that spin would hold up others
  # What the sanitizers are run on.
  if(ARG_LABELS MATCHES "unit|format")
    if(NOT TARGET sanitized_tests)
      add_custom_target(sanitized_tests)
    endif()
    add_dependencies(sanitized_tests ${NAME})
  endif()
endfunction()
