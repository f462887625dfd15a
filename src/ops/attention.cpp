#include "ops/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "ops/dispatch.h"

namespace wan {

void validate(const AttentionArgs& args) {
  constexpr const char* kOp = "attention";
  check_rank(kOp, "q", args.q, 3);
  check_rank(kOp, "k", args.k, 3);
  check_shape(kOp, "k", args.k, {args.k.dim(0), args.q.dim(1), args.q.dim(2)});
  check_shape(kOp, "v", args.v, args.k.shape());
  check_shape(kOp, "out", args.out, args.q.shape());
  WAN_CHECK(args.k.dim(0) > 0, kInternal, "[{}] there are no keys", kOp);
  for (const TensorView& view : {args.q, args.k, args.v, args.out}) {
    check_activation_dtype(kOp, "an argument", view);
    check_inner_contiguous(kOp, "an argument", view);
  }
  if (args.bias) {
    check_shape(kOp, "bias", args.bias, {args.q.dim(1), args.q.dim(0), args.k.dim(0)});
    WAN_CHECK(args.bias.dtype() == DType::kF32 && args.bias.is_contiguous(), kInternal,
              "[{}] bias must be contiguous f32", kOp);
  }
  if (args.key_bias) {
    check_shape(kOp, "key_bias", args.key_bias, {args.k.dim(0)});
    WAN_CHECK(args.key_bias.dtype() == DType::kF32 && args.key_bias.is_contiguous(), kInternal,
              "[{}] key_bias must be contiguous f32", kOp);
  }
  if (args.log_sums) {
    check_shape(kOp, "log_sums", args.log_sums, {args.q.dim(1), args.q.dim(0)});
    WAN_CHECK(args.log_sums.dtype() == DType::kF32 && args.log_sums.is_contiguous(), kInternal,
              "[{}] log_sums must be contiguous f32", kOp);
  }
}

void reference(const AttentionArgs& args) {
  const std::int64_t keys = args.k.dim(0);
  const std::int64_t width = args.q.dim(2);
  const std::int64_t heads = args.q.dim(1);
  const std::vector<double> q = load_elements(args.q);
  const std::vector<double> k = load_elements(args.k);
  const std::vector<double> v = load_elements(args.v);
  std::vector<double> weight(static_cast<std::size_t>(keys));
  for (std::int64_t h = 0; h < heads; ++h) {
    for (std::int64_t i = 0; i < args.q.dim(0); ++i) {
      double highest = -std::numeric_limits<double>::infinity();
      for (std::int64_t j = 0; j < keys; ++j) {
        double score =
            dot_product(q.data() + (i * heads + h) * width, k.data() + (j * heads + h) * width, width) *
            static_cast<double>(args.scale);
        if (args.bias) score += load_element(args.bias, {h, i, j});
        if (args.key_bias) score += load_element(args.key_bias, {j});
        weight[static_cast<std::size_t>(j)] = score;
        highest = std::max(highest, score);
      }
      double total = 0.0;
      for (double& w : weight) total += w = std::exp(w - highest);
      if (args.log_sums) store_element(args.log_sums, {h, i}, highest + std::log(total));
      for (std::int64_t d = 0; d < width; ++d) {
        double sum = 0.0;
        for (std::int64_t j = 0; j < keys; ++j)
          sum += weight[static_cast<std::size_t>(j)] * v[(j * heads + h) * width + d];
        store_element(args.out, {i, h, d}, sum / total);
      }
    }
  }
}

void attention(ExecContext& ctx, const AttentionArgs& args) {
  validate(args);
  dispatch(ctx, "attention", args);
}

}  // namespace wan
