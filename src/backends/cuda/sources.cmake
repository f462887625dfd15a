# The backend's sources in three parts, because tests/cuda_emulation builds two of them on its own.
set(WAN_CUDA_HOST_SOURCES
  allocator.cpp attention.cpp backend_impl.cpp check.cpp conv3d.cpp copy_queue.cpp cuda_backend.cpp linear.cpp nccl_group.cpp
  nccl_library.cpp scratch.cpp simple_ops.cpp staging.cpp tuner.cpp wait_times.cpp causal_attention.cpp kernels/copy_plan.cpp)
set(WAN_CUDA_KERNEL_SOURCES
  kernels/attention.cu kernels/causal_attention.cu kernels/channel_norm.cu kernels/channel_resample.cu kernels/checksum.cu kernels/data_movement.cu
  kernels/elementwise.cu kernels/join_attention.cu kernels/layer_norm.cu kernels/matrix_vector.cu kernels/max_pool_2x2.cu kernels/network_ops.cu kernels/plain_products.cu kernels/probe.cu kernels/random.cu kernels/rms_norm.cu kernels/rotate_halves.cu
  kernels/softmax.cu kernels/unpack.cu)
set(WAN_CUDA_LIBRARY_SOURCES cudnn_libraries.cpp driver_functions.cpp matmul_library.cpp)
