#include "backends/cuda/kernels/attention.h"

#include "backends/cuda/kernels/attention_kernels.h"
#include "backends/cuda/kernels/launch_types.h"

namespace wan::cuda {

namespace {

/// visit(AttentionShape): the narrowest that holds a head. Wider heads take fewer queries at a time, so that their rows and
/// sums fit shared memory (99 KB a block on the smallest device) and registers.
template <typename Visit>
void with_attention_shape(std::int64_t width, Visit&& visit) {
  WAN_ASSERT(width <= kWidestPlainHead);
  if (width <= 64) return visit(AttentionShape<64, 32, 32>());
  if (width <= 128) return visit(AttentionShape<128, 32, 32>());
  if (width <= 256) return visit(AttentionShape<256, 16, 32>());
  visit(AttentionShape<kWidestPlainHead, 16, 32>());
}

}  // namespace

void launch_plain_attention(cudaStream_t stream, const AttentionArgs& args) {
  PlainAttention plain{};
  plain.queries = args.q.dim(0);
  plain.keys = args.k.dim(0);
  plain.width = static_cast<int>(args.q.dim(2));
  plain.scale = args.scale;
  plain.q_token = args.q.stride(0);
  plain.q_head = args.q.stride(1);
  plain.k_token = args.k.stride(0);
  plain.k_head = args.k.stride(1);
  plain.v_token = args.v.stride(0);
  plain.v_head = args.v.stride(1);
  plain.out_token = args.out.stride(0);
  plain.out_head = args.out.stride(1);
  plain.bias = args.bias ? args.bias.as<float>() : nullptr;
  plain.key_bias = args.key_bias ? args.key_bias.as<float>() : nullptr;
  const auto heads = static_cast<unsigned>(args.q.dim(1));
  with_attention_shape(plain.width, [&](auto shape) {
    using Shape = decltype(shape);
    with_activation_type(args.q.dtype(), [&](auto tag) {
      with_activation_type(args.out.dtype(), [&](auto out_tag) {
        using T = typename decltype(tag)::type;
        using Out = typename decltype(out_tag)::type;
        launch(stream,
               {dim3(blocks_for(plain.queries, Shape::kQueries), heads), dim3(Shape::kThreads),
                Shape::kSharedBytes},
               plain_attention_kernel<T, Out, Shape>, reinterpret_cast<const T*>(args.q.data()),
               reinterpret_cast<const T*>(args.k.data()), reinterpret_cast<const T*>(args.v.data()),
               reinterpret_cast<Out*>(args.out.data()), plain);
      });
    });
  });
}

}  // namespace wan::cuda
