#include "ops/row_reduction.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/dispatch.h"

namespace wan {

namespace {

void check_rows(const char* op, const TensorView& x) {
  check_rank(op, "x", x, 2);
  WAN_CHECK(x.dim(1) >= 1 && x.is_contiguous() && x.dtype() == DType::kF32, kInternal,
            "[{}] x must be f32, contiguous and not empty", op);
}

}  // namespace

void validate(const RowReductionArgs& args) {
  constexpr const char* kOp = "row_reduction";
  check_rows(kOp, args.x);
  check_shape(kOp, "out", args.out, {args.x.dim(0)});
  WAN_CHECK(args.out.is_contiguous() && args.out.dtype() == DType::kF32, kInternal,
            "[{}] out must be f32 and contiguous", kOp);
}

void reference(const RowReductionArgs& args) {
  for (std::int64_t r = 0; r < args.x.dim(0); ++r) {
    double value = load_element(args.x, {r, 0});
    for (std::int64_t c = 1; c < args.x.dim(1); ++c) {
      const double x = load_element(args.x, {r, c});
      if (args.kind == RowReductionKind::kMax)
        value = std::isnan(x) ? x : std::max(value, x);
      else if (args.kind == RowReductionKind::kMin)
        value = std::isnan(x) ? x : std::min(value, x);
      else
        value += x;
    }
    if (args.kind == RowReductionKind::kMean) value /= static_cast<double>(args.x.dim(1));
    store_element(args.out, {r}, value);
  }
}

void row_reduction(ExecContext& ctx, const RowReductionArgs& args) {
  validate(args);
  dispatch(ctx, "row_reduction", args);
}

void validate(const RowSoftmaxArgs& args) {
  constexpr const char* kOp = "row_softmax";
  check_rows(kOp, args.x);
  check_shape(kOp, "out", args.out, args.x.shape());
  WAN_CHECK(args.out.is_contiguous() && args.out.dtype() == DType::kF32, kInternal,
            "[{}] out must be f32 and contiguous", kOp);
}

void reference(const RowSoftmaxArgs& args) {
  std::vector<double> weights(static_cast<std::size_t>(args.x.dim(1)));
  for (std::int64_t r = 0; r < args.x.dim(0); ++r) {
    double highest = load_element(args.x, {r, 0});
    for (std::int64_t c = 1; c < args.x.dim(1); ++c)
      highest = std::max(highest, load_element(args.x, {r, c}));
    double sum = 0.0;
    for (std::int64_t c = 0; c < args.x.dim(1); ++c)
      sum += weights[static_cast<std::size_t>(c)] = std::exp(load_element(args.x, {r, c}) - highest);
    for (std::int64_t c = 0; c < args.x.dim(1); ++c)
      store_element(args.out, {r, c}, weights[static_cast<std::size_t>(c)] / sum);
  }
}

void row_softmax(ExecContext& ctx, const RowSoftmaxArgs& args) {
  validate(args);
  dispatch(ctx, "row_softmax", args);
}

}  // namespace wan
