#include "ops/rms_norm_rope.h"

#include "ops/dispatch.h"

namespace wan {

void validate(const RmsNormRopeArgs& args) {
  constexpr const char* kOp = "rms_norm_rope";
  check_rank(kOp, "x", args.x, 2);
  check_rank(kOp, "out", args.out, 3);
  const std::int64_t width = args.out.dim(2);
  check_shape(kOp, "out", args.out, {args.x.dim(0), args.out.dim(1), width});
  WAN_CHECK(args.out.dim(1) * width == args.x.dim(1) && width % 2 == 0, kInternal,
            "[{}] {} heads of {} do not make rows of {}", kOp, args.out.dim(1), width, args.x.dim(1));
  check_shape(kOp, "weight", args.weight, {args.x.dim(1)});
  check_shape(kOp, "table", args.table, {args.x.dim(0), width / 2, 2});
  WAN_CHECK(args.table.dtype() == DType::kF32 && args.table.is_contiguous(), kInternal,
            "[{}] table must be contiguous f32", kOp);
  WAN_CHECK(args.out.dim(1) <= 1 || args.out.stride(1) == width, kInternal,
            "[{}] the heads of a row must be contiguous", kOp);
  for (const TensorView& view : {args.x, args.weight, args.out}) {
    check_activation_dtype(kOp, "an argument", view);
    check_inner_contiguous(kOp, "an argument", view);
  }
}

void reference(const RmsNormRopeArgs& args) {
  const Tensor normed(DType::kF32, args.x.shape());
  reference(RmsNormArgs{args.x, args.weight, args.eps, normed});
  const std::int64_t width = args.out.dim(2);
  for (std::int64_t r = 0; r < args.x.dim(0); ++r) {
    for (std::int64_t h = 0; h < args.out.dim(1); ++h) {
      for (std::int64_t i = 0; i < width / 2; ++i) {
        const double cosine = load_element(args.table, {r, i, 0});
        const double sine = load_element(args.table, {r, i, 1});
        const double even = load_element(normed, {r, h * width + 2 * i});
        const double odd = load_element(normed, {r, h * width + 2 * i + 1});
        store_element(args.out, {r, h, 2 * i}, even * cosine - odd * sine);
        store_element(args.out, {r, h, 2 * i + 1}, even * sine + odd * cosine);
      }
    }
  }
}

void rms_norm_rope(ExecContext& ctx, const RmsNormRopeArgs& args) {
  validate(args);
  dispatch(ctx, "rms_norm_rope", args);
}

}  // namespace wan
