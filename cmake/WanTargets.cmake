# Helpers that every folder's CMakeLists.txt uses: one library a folder, one program a group of test files.

# Code that computes little: it need not be fast, and compiles in seven tenths of the time so.
function(wan_compile_lightly NAME)
  target_compile_options(${NAME} PRIVATE $<$<CONFIG:Release>:-O1>)
endfunction()

# wan_library(NAME [LIGHT] SOURCES a.cpp ... DEPENDS targets ... PRIVATE_DEPENDS targets ...)
# A static library `NAME`; DEPENDS are what its headers include, PRIVATE_DEPENDS what only its .cpp files do. LIGHT: see
# wan_compile_lightly.
function(wan_library NAME)
  cmake_parse_arguments(ARG "LIGHT" "" "SOURCES;DEPENDS;PRIVATE_DEPENDS" ${ARGN})
  add_library(${NAME} STATIC ${ARG_SOURCES})
  if(ARG_LIGHT)
    wan_compile_lightly(${NAME})
  endif()
  target_include_directories(${NAME} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>
                                            $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>)
  target_link_libraries(${NAME} PUBLIC ${ARG_DEPENDS} PRIVATE wan_options ${ARG_PRIVATE_DEPENDS})
endfunction()

# What every target of tests is compiled with.
function(wan_test_options NAME)
  target_include_directories(${NAME} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(${NAME} PRIVATE WAN_SOURCE_DIR="${PROJECT_SOURCE_DIR}" WAN_GOLDEN_DIR="${WAN_GOLDEN_DIR}")
  add_dependencies(${NAME} golden_files)
  target_link_libraries(${NAME} PRIVATE wan_options ${ARGN} GTest::gtest)
endfunction()

# wan_test_objects(NAME SOURCES a_test.cpp ... DEPENDS targets ...)
# Test files that several tests have in common, compiled once; $<TARGET_OBJECTS:NAME> is among those tests' sources. They compare
# many values, again and again.
function(wan_test_objects NAME)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  if(WAN_BUILD_TESTS)
    add_library(${NAME} OBJECT ${ARG_SOURCES})
    wan_test_options(${NAME} ${ARG_DEPENDS})
    wan_compile_lightly(${NAME})
  endif()
endfunction()

# wan_test(NAME SOURCES a_test.cpp ... DEPENDS targets ... LABELS unit|parity|format|distributed)
# A GoogleTest executable, registered with ctest under NAME and its labels. Its own code runs for moments, and compiles in half of the
# time when it is not made fast.
function(wan_test NAME)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LABELS" ${ARGN})
  if(NOT WAN_BUILD_TESTS)
    return()
  endif()
  add_executable(${NAME} ${ARG_SOURCES})
  wan_test_options(${NAME} ${ARG_DEPENDS} GTest::gtest_main)
  target_compile_options(${NAME} PRIVATE $<$<CONFIG:Release,RelWithDebInfo>:-O0>)
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
