#include "backends/cuda/kernels/softmax.h"

#include "backends/cuda/kernels/launch_types.h"
#include "backends/cuda/kernels/softmax_kernels.h"

namespace wan::cuda {

void launch_softmax(cudaStream_t stream, const SoftmaxArgs& args) {
  constexpr int kWide = 4;
  SoftmaxRows rows{};
  rows.scores = args.scores.as<float>();
  rows.queries = args.scores.dim(1);
  rows.keys = args.scores.dim(2);
  rows.scale = args.scale;
  if (args.bias) {
    rows.bias = args.bias.as<float>();
    rows.bias_head = args.bias.stride(0);
    rows.bias_query = args.bias.stride(1);
  }
  if (args.key_bias) rows.key_bias = args.key_bias.as<float>();
  const LaunchShape shape{dim3(blocks_for(args.scores.dim(0) * rows.queries, 1)), dim3(kSoftmaxThreads)};
  const bool wide = packs_fit({args.scores, args.bias, args.key_bias, args.weights}, kWide);
  with_activation_type(args.weights.dtype(), [&](auto tag) {
    using Out = typename decltype(tag)::type;
    launch(stream, shape, wide ? softmax_kernel<Out, kWide> : softmax_kernel<Out, 1>, rows,
           reinterpret_cast<Out*>(args.weights.data()));
  });
}

}  // namespace wan::cuda
