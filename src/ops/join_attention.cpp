#include "ops/join_attention.h"

#include <algorithm>
#include <cmath>

#include "ops/dispatch.h"

namespace wan {

void validate(const JoinAttentionArgs& args) {
  constexpr const char* kOp = "join_attention";
  check_rank(kOp, "out", args.out, 3);
  check_shape(kOp, "part", args.part, args.out.shape());
  check_activation_dtype(kOp, "part", args.part);
  for (const TensorView& view : {args.log_sums, args.part_log_sums})
    check_shape(kOp, "log_sums", view, {args.out.dim(1), args.out.dim(0)});
  for (const TensorView& view : {args.out, args.log_sums, args.part_log_sums})
    WAN_CHECK(view.dtype() == DType::kF32, kInternal, "[{}] out and log_sums must be f32", kOp);
  for (const TensorView& view : {args.out, args.log_sums, args.part, args.part_log_sums})
    WAN_CHECK(view.is_contiguous(), kInternal, "[{}] all must be contiguous", kOp);
}

void reference(const JoinAttentionArgs& args) {
  for (std::int64_t i = 0; i < args.out.dim(0); ++i)
    for (std::int64_t h = 0; h < args.out.dim(1); ++h) {
      const double before = load_element(args.log_sums, {h, i});
      const double added = load_element(args.part_log_sums, {h, i});
      const double highest = std::max(before, added);
      const double sum = highest + std::log(std::exp(before - highest) + std::exp(added - highest));
      for (std::int64_t d = 0; d < args.out.dim(2); ++d)
        store_element(args.out, {i, h, d},
                      std::exp(before - sum) * load_element(args.out, {i, h, d}) +
                          std::exp(added - sum) * load_element(args.part, {i, h, d}));
      store_element(args.log_sums, {h, i}, sum);
    }
}

void join_attention(ExecContext& ctx, const JoinAttentionArgs& args) {
  validate(args);
  dispatch(ctx, "join_attention", args);
}

}  // namespace wan
