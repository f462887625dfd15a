#pragma once
// CUTLASS's Hopper attention collectives (its example 88) as a function over views, for any fusion of theirs: bf16, heads of
// 128, two groups of warps in turn ("ping-pong") over tiles of 128 x 128. Strides are run-time values: queries, keys and
// values stay as the projections wrote them. Only for files compiled for the architecture 90a.

#include <cutlass/kernel_hardware_info.h>

#include <cmath>
#include <limits>
#include <numbers>

#include <collective/fmha_fusion.hpp>
#include <device/device_universal.hpp>
#include <kernel/fmha_kernel_builder.hpp>

#include "backends/cuda/attention_library.h"
#include "backends/cuda/check.h"
#include "base/error.h"

namespace wan::cuda::cutlass_example {

using HopperElement = cutlass::bfloat16_t;
using HopperTile = cute::Shape<cute::_128, cute::_128, cute::_128>;       // queries, keys, head width
using HopperStrides = cute::tuple<int, cute::_1, cute::tuple<int, int>>;  // token, 1, (batch, head)

inline int hopper_int(std::int64_t value) {
  WAN_CHECK(value <= std::numeric_limits<int>::max(), kUnsupported,
            "[attention] {} is too large for the Hopper kernel", value);
  return static_cast<int>(value);
}

inline HopperStrides hopper_strides(const TensorView& view) {
  // There is one batch, whose stride is never used; like the others it must be whole 16-byte pieces.
  const int token = hopper_int(view.stride(0));
  return cute::make_stride(token, cute::_1{}, cute::make_stride(token, hopper_int(view.stride(1))));
}

/// Options: CUTLASS's, beside those of the ping-pong schedule.
template <typename Fusion, typename Tile = HopperTile, typename... Options>
using HopperKernel = typename cutlass::fmha::kernel::FmhaBuilder<
    HopperElement, float, float, Tile, HopperStrides, HopperStrides, HopperStrides, Fusion,
    cutlass::gemm::KernelTmaWarpSpecializedPingpong, Options...>::Kernel;

/// set_rest(params.mainloop) sets what a main loop of our own has beside CUTLASS's parameters.
template <typename Kernel, typename SetRest>
void launch_hopper_kernel(cudaStream_t stream, Workspace& workspace, int multiprocessors,
                          const AttentionArgs& args, SetRest&& set_rest) {
  using Operation = cutlass::device::Universal<Kernel>;
  const auto elements = [](const TensorView& view) { return reinterpret_cast<HopperElement*>(view.data()); };
  const int queries = hopper_int(args.q.dim(0));
  const int heads = hopper_int(args.q.dim(1));
  // The kernel writes each row's log-sum, whether anybody reads it or not.
  const TensorView log_sums = args.log_sums ? args.log_sums : workspace.take(DType::kF32, {heads, queries});

  cutlass::KernelHardwareInfo hardware;
  hardware.sm_count = multiprocessors;
  const typename Operation::Arguments arguments{
      {1, heads, queries, hopper_int(args.k.dim(0)), hopper_int(args.q.dim(2))},
      {elements(args.q), hopper_strides(args.q), elements(args.k), hopper_strides(args.k), elements(args.v),
       hopper_strides(args.v)},
      {elements(args.out), hopper_strides(args.out), log_sums.as<float>(),
       cute::make_stride(cute::_1{}, cute::make_stride(0, queries))},
      hardware};
  // Not through can_implement(): it wants a multiple of 8 queries, which the copies to and from shared memory, bounded by
  // the tensor's extents, do not need.
  typename Kernel::Params params = Kernel::to_underlying_arguments(arguments, nullptr);
  params.mainloop.scale_softmax = args.scale;
  params.mainloop.scale_softmax_log2 = args.scale * std::numbers::log2e_v<float>;
  set_rest(params.mainloop);
  WAN_CUDA(cudaFuncSetAttribute(cutlass::device_kernel<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                Kernel::SharedStorageSize));
  const cutlass::Status status = Operation::run(params, stream);
  WAN_CHECK(status == cutlass::Status::kSuccess, kDevice,
            "[attention] the Hopper kernel was not launched: {}", cutlass::cutlassGetStatusString(status));
}

template <typename Fusion, typename Tile = HopperTile, typename... Options>
void run_hopper_kernel(cudaStream_t stream, Workspace& workspace, int multiprocessors,
                       const AttentionArgs& args) {
  launch_hopper_kernel<HopperKernel<Fusion, Tile, Options...>>(stream, workspace, multiprocessors, args,
                                                               [](auto&) {});
}

}  // namespace wan::cuda::cutlass_example
