// Attention by CUTLASS's Hopper collectives (its example 88): bf16, heads of 128, two groups of warps in turn ("ping-pong") over
// tiles of 128 x 128. Strides are run-time values: queries, keys and values stay as the projections wrote them.

#include <cutlass/kernel_hardware_info.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "backends/cuda/attention_library.h"
#include "backends/cuda/check.h"
#include "base/error.h"
#include "collective/fmha_fusion.hpp"
#include "device/device_universal.hpp"
#include "kernel/fmha_kernel_builder.hpp"

namespace wan::cuda {

namespace {

using Element = cutlass::bfloat16_t;
using Tile = cute::Shape<cute::_128, cute::_128, cute::_128>;            // queries, keys, head width
using TokenStrides = cute::tuple<int, cute::_1, cute::tuple<int, int>>;  // token, 1, (batch, head)

// DefaultFusion would let the last tile's missing keys count; ResidualFusion masks them.
using Kernel = cutlass::fmha::kernel::FmhaBuilder<Element, float, float, Tile, TokenStrides, TokenStrides,
                                                  TokenStrides, cutlass::fmha::collective::ResidualFusion,
                                                  cutlass::gemm::KernelTmaWarpSpecializedPingpong>::Kernel;
using Operation = cutlass::device::Universal<Kernel>;

int as_int(std::int64_t value) {
  WAN_CHECK(value <= std::numeric_limits<int>::max(), kUnsupported,
            "[attention] {} is too large for the Hopper kernel", value);
  return static_cast<int>(value);
}

TokenStrides strides_of(const TensorView& view) {
  // There is one batch, whose stride is never used; like the others it must be whole 16-byte pieces.
  const int token = as_int(view.stride(0));
  return cute::make_stride(token, cute::_1{}, cute::make_stride(token, as_int(view.stride(1))));
}

const Element* elements(const TensorView& view) {
  return reinterpret_cast<const Element*>(view.data());
}

}  // namespace

bool has_hopper_attention() {
  return true;
}

void run_hopper_attention(cudaStream_t stream, Workspace& workspace, int multiprocessors,
                          const AttentionArgs& args) {
  const Workspace::Scope scope(workspace);
  const int queries = as_int(args.q.dim(0));
  const int heads = as_int(args.q.dim(1));
  const int keys = as_int(args.k.dim(0));
  const int width = as_int(args.q.dim(2));
  // The kernel also writes each row's log-sum, which nobody reads: all heads write to one row of it.
  const TensorView log_sums = workspace.take(DType::kF32, {queries});

  cutlass::KernelHardwareInfo hardware;
  hardware.sm_count = multiprocessors;
  const Operation::Arguments arguments{
      {1, heads, queries, keys, width},
      {elements(args.q), strides_of(args.q), elements(args.k), strides_of(args.k), elements(args.v),
       strides_of(args.v)},
      {reinterpret_cast<Element*>(args.out.data()), strides_of(args.out), log_sums.as<float>(),
       cute::make_stride(cute::_1{}, cute::make_stride(0, 0))},
      hardware};
  // Not through can_implement(): it wants a multiple of 8 queries, which the copies to and from shared memory, bounded by
  // the tensor's extents, do not need.
  Kernel::Params params = Kernel::to_underlying_arguments(arguments, nullptr);
  params.mainloop.scale_softmax = args.scale;
  params.mainloop.scale_softmax_log2 = args.scale * std::numbers::log2e_v<float>;
  WAN_CUDA(cudaFuncSetAttribute(cutlass::device_kernel<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                Kernel::SharedStorageSize));
  const cutlass::Status status = Operation::run(params, stream);
  WAN_CHECK(status == cutlass::Status::kSuccess, kDevice,
            "[attention] the Hopper kernel was not launched: {}", cutlass::cutlassGetStatusString(status));
}

}  // namespace wan::cuda
