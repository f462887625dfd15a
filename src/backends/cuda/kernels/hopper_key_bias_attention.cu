// The Hopper attention with a bias for each key: attention to a text whose padding is one key that counts as many.

#include "backends/cuda/kernels/hopper_attention_kernel.h"

namespace wan::cuda {

namespace {

/// What the fusion reads. CUTLASS's kernel has no parameter for it, so that it is set in the stream before each launch.
struct KeyBias {
  const float* values;
  float inverse_scale;  // scores are scaled after the fusion has seen them
};
__device__ KeyBias key_bias;

/// Adds the bias to every tile's scores, and masks the last tile's missing keys.
struct KeyBiasFusion : cutlass::fmha::collective::DefaultFusion {
  template <class Scores, class Index, class Problem>
  CUTLASS_DEVICE void before_softmax(Scores& scores, const Index& index, const Problem& problem) {
    const KeyBias bias = key_bias;
    CUTLASS_PRAGMA_UNROLL
    for (int i = 0; i < cute::size(scores); i++) {
      const auto key = cute::get<1>(index(i));
      if (key < cute::get<3>(problem))
        scores(i) += bias.values[key] * bias.inverse_scale;
      else
        scores(i) = -INFINITY;
    }
  }
};

}  // namespace

void run_hopper_key_bias_attention(cudaStream_t stream, Workspace& workspace, int multiprocessors,
                                   const AttentionArgs& args) {
  const KeyBias bias{args.key_bias.as<float>(), 1.0f / args.scale};
  WAN_CUDA(cudaMemcpyToSymbolAsync(key_bias, &bias, sizeof bias, 0, cudaMemcpyHostToDevice, stream));
  run_hopper_kernel<KeyBiasFusion>(stream, workspace, multiprocessors, args);
}

}  // namespace wan::cuda
