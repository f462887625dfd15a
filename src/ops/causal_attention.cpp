#include "ops/causal_attention.h"

#include "ops/attention.h"
#include "ops/dispatch.h"

namespace wan {

void validate(const CausalAttentionArgs& args) {
  constexpr const char* kOp = "causal_attention";
  check_rank(kOp, "q", args.q, 3);
  check_rank(kOp, "k", args.k, 3);
  check_shape(kOp, "k", args.k, {args.k.dim(0), args.k.dim(1), args.q.dim(2)});
  check_shape(kOp, "v", args.v, args.k.shape());
  check_shape(kOp, "out", args.out, args.q.shape());
  WAN_CHECK(args.k.dim(1) > 0 && args.q.dim(1) % args.k.dim(1) == 0, kInternal,
            "[{}] {} heads cannot share the keys of {}", kOp, args.q.dim(1), args.k.dim(1));
  WAN_CHECK(args.k.dim(0) >= args.q.dim(0), kInternal, "[{}] {} keys for {} queries", kOp, args.k.dim(0),
            args.q.dim(0));
  WAN_CHECK(args.k.dtype() == args.v.dtype(), kInternal, "[{}] keys and values of two types", kOp);
  for (const TensorView& view : {args.q, args.k, args.v, args.out}) {
    check_activation_dtype(kOp, "an argument", view);
    check_inner_contiguous(kOp, "an argument", view);
  }
}

/// Attention, token by token, over the keys that each sees.
void reference(const CausalAttentionArgs& args) {
  const std::int64_t queries = args.q.dim(0);
  const std::int64_t before = args.k.dim(0) - queries;
  const std::int64_t sharing = args.q.dim(1) / args.k.dim(1);
  for (std::int64_t i = 0; i < queries; ++i)
    for (std::int64_t h = 0; h < args.q.dim(1); ++h) {
      const auto head = [&](const TensorView& view, std::int64_t index, std::int64_t first,
                            std::int64_t last) {
        return view.slice(0, first, last).slice(1, index, index + 1);
      };
      reference(AttentionArgs{.q = head(args.q, h, i, i + 1),
                              .k = head(args.k, h / sharing, 0, before + i + 1),
                              .v = head(args.v, h / sharing, 0, before + i + 1),
                              .scale = args.scale,
                              .bias = {},
                              .key_bias = {},
                              .out = head(args.out, h, i, i + 1)});
    }
}

void causal_attention(ExecContext& ctx, const CausalAttentionArgs& args) {
  validate(args);
  dispatch(ctx, "causal_attention", args);
}

}  // namespace wan
