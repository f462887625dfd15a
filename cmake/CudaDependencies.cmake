# What the CUDA backend needs beside the toolkit: cuDNN, and two packages of headers.
include(FetchPyPI)
wan_fetch_pypi(WAN_CUTLASS_DIR NAME nvidia-cutlass VERSION 4.2.0.0 FILE nvidia_cutlass-4.2.0.0-py3-none-any.whl
  SHA256 f9599ada45c7bcb6bf53f7d3f0a7d154183e53451c01bfa59eecd37dd4a693f6 SUBDIRECTORY cutlass_library/source)
# The wheel of one Python version and platform: its headers are the same in all.
wan_fetch_pypi(WAN_CUDNN_FRONTEND_DIR NAME nvidia-cudnn-frontend VERSION 1.14.1
  FILE nvidia_cudnn_frontend-1.14.1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl
  SHA256 a41008635559f223257e78b7b1d6c26b6f7f8742a56b2a0cc3341d1b3ad81b66 SUBDIRECTORY include
  PIP_OPTIONS --python-version 3.11 --implementation cp --abi cp311 --platform manylinux_2_28_x86_64)

find_package(CUDAToolkit 12.8 REQUIRED)
find_path(WAN_CUDNN_INCLUDE_DIR cudnn.h HINTS ENV CUDNN_HOME ${CUDAToolkit_INCLUDE_DIRS})
find_library(WAN_CUDNN_LIBRARY cudnn HINTS ENV CUDNN_HOME ${CUDAToolkit_LIBRARY_DIR} PATH_SUFFIXES lib lib64)
mark_as_advanced(WAN_CUDNN_INCLUDE_DIR WAN_CUDNN_LIBRARY)
if(NOT WAN_CUDNN_INCLUDE_DIR OR NOT WAN_CUDNN_LIBRARY)
  message(FATAL_ERROR "cuDNN 9 was not found: install it beside the CUDA toolkit, or set CUDNN_HOME to its folder")
endif()
if(NOT TARGET WanCuDNN::cudnn)
  add_library(WanCuDNN::cudnn UNKNOWN IMPORTED GLOBAL)
  set_target_properties(WanCuDNN::cudnn PROPERTIES IMPORTED_LOCATION ${WAN_CUDNN_LIBRARY}
                                                   INTERFACE_INCLUDE_DIRECTORIES ${WAN_CUDNN_INCLUDE_DIR})
endif()
