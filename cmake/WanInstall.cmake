# What `make install` puts where: the program, one shared library with the public API, its headers, and the files that
# find_package(wan) reads.
include(CMakePackageConfigHelpers)

add_library(wan_shared SHARED ${CMAKE_CURRENT_LIST_DIR}/no_source.cpp)
set_target_properties(wan_shared PROPERTIES OUTPUT_NAME wan EXPORT_NAME wan VERSION ${PROJECT_VERSION}
                                            SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
target_compile_features(wan_shared PUBLIC cxx_std_20)
target_include_directories(wan_shared PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                                             $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
# The public functions live in these eight; the rest comes along as they need it.
target_link_libraries(wan_shared PRIVATE
  -Wl,--whole-archive $<TARGET_FILE:wan_doctor> $<TARGET_FILE:wan_extension> $<TARGET_FILE:wan_preprocess> $<TARGET_FILE:wan_published> $<TARGET_FILE:wan_engine> $<TARGET_FILE:wan_request> $<TARGET_FILE:wan_download> $<TARGET_FILE:wan_base> -Wl,--no-whole-archive
  wan_doctor wan_download wan_extension wan_preprocess)
add_dependencies(wan_shared wan_download wan_doctor wan_extension wan_preprocess wan_published wan_engine wan_request wan_base)
add_library(wan::wan ALIAS wan_shared)

install(TARGETS wan_shared EXPORT wan_targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/wan DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
set(WAN_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/wan)
install(EXPORT wan_targets NAMESPACE wan:: FILE wan-config.cmake DESTINATION ${WAN_CMAKE_DIR})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/wan-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/wan-config-version.cmake DESTINATION ${WAN_CMAKE_DIR})
