#include "ops/rotate_halves.h"

#include "ops/dispatch.h"

namespace wan {

RotateHalvesArgs rotation_of_also(const RotateHalvesArgs& args) {
  return {.x = args.also, .table = args.table, .out = args.also};
}

void validate(const RotateHalvesArgs& args) {
  constexpr const char* kOp = "rotate_halves";
  check_rank(kOp, "x", args.x, 3);
  check_shape(kOp, "out", args.out, args.x.shape());
  WAN_CHECK(args.x.dim(2) % 2 == 0, kInternal, "[{}] heads of {} have no halves", kOp, args.x.dim(2));
  check_shape(kOp, "table", args.table, {args.x.dim(0), args.x.dim(2) / 2, 2});
  WAN_CHECK(args.table.dtype() == DType::kF32 && args.table.is_contiguous(), kInternal,
            "[{}] table must be contiguous f32", kOp);
  for (const TensorView& view : {args.x, args.out}) {
    check_activation_dtype(kOp, "an argument", view);
    check_inner_contiguous(kOp, "an argument", view);
  }
  if (args.also) validate(rotation_of_also(args));
}

void reference(const RotateHalvesArgs& args) {
  if (args.also) reference(rotation_of_also(args));
  const std::int64_t half = args.x.dim(2) / 2;
  for (std::int64_t r = 0; r < args.x.dim(0); ++r) {
    for (std::int64_t h = 0; h < args.x.dim(1); ++h) {
      for (std::int64_t i = 0; i < half; ++i) {
        const double cosine = load_element(args.table, {r, i, 0});
        const double sine = load_element(args.table, {r, i, 1});
        const double first = load_element(args.x, {r, h, i});
        const double second = load_element(args.x, {r, h, i + half});
        store_element(args.out, {r, h, i}, first * cosine - second * sine);
        store_element(args.out, {r, h, i + half}, second * cosine + first * sine);
      }
    }
  }
}

void rotate_halves(ExecContext& ctx, const RotateHalvesArgs& args) {
  validate(args);
  dispatch(ctx, "rotate_halves", args);
}

}  // namespace wan
