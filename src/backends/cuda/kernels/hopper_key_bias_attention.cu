// The Hopper attention with a bias for each key: attention to a text whose padding is one key that counts as many.

#include "backends/cuda/kernels/hopper_attention_kernel.h"

namespace wan::cuda {

namespace {

/// What the fusion reads, a part of the kernel's argument.
struct KeyBias {
  const float* values;
  float inverse_scale;  // scores are scaled after the fusion has seen them
};

/// Adds the bias to every tile's scores, and masks the last tile's missing keys. `problem` ends with the KeyBias.
struct KeyBiasFusion : cutlass::fmha::collective::DefaultFusion {
  template <class Scores, class Index, class Problem>
  CUTLASS_DEVICE void before_softmax(Scores& scores, const Index& index, const Problem& problem) {
    const KeyBias bias = cute::get<5>(problem);
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

/// CUTLASS's main loop with a KeyBias among its parameters. It makes its fusions without arguments but hands them the problem's
/// sizes as they come, whatever follows the five of its own: the KeyBias does.
template <typename Mainloop>
struct KeyBiasMainloop : Mainloop {
  struct Params : Mainloop::Params {
    KeyBias key_bias;
  };

  template <typename Problem>
  static Params to_underlying_arguments(const Problem& problem, const typename Mainloop::Arguments& arguments,
                                        void* workspace) {
    return {Mainloop::to_underlying_arguments(problem, arguments, workspace), {}};
  }

  template <typename Block, typename Problem, typename... Rest>
  CUTLASS_DEVICE auto compute(const Block& block, const Block& group, const Params& params,
                              const Problem& problem, Rest&... rest) {
    return Mainloop::compute(block, group, params, cute::append(problem, params.key_bias), rest...);
  }
};

template <typename Kernel>
struct WithKeyBias;

template <typename Mainloop, typename Epilogue, typename Scheduler, typename... Options>
struct WithKeyBias<
    cutlass::fmha::kernel::FmhaKernelTmaWarpSpecialized<Mainloop, Epilogue, Scheduler, Options...>> {
  using Kernel = cutlass::fmha::kernel::FmhaKernelTmaWarpSpecialized<KeyBiasMainloop<Mainloop>, Epilogue,
                                                                     Scheduler, Options...>;
};

}  // namespace

void run_hopper_key_bias_attention(cudaStream_t stream, Workspace& workspace, int multiprocessors,
                                   const AttentionArgs& args) {
  launch_hopper_kernel<WithKeyBias<HopperKernel<KeyBiasFusion>>::Kernel>(
      stream, workspace, multiprocessors, args, [&](auto& mainloop) {
        mainloop.key_bias = {args.key_bias.as<float>(), 1.0f / args.scale};
      });
}

}  // namespace wan::cuda
