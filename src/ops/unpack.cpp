#include "ops/unpack.h"

#include <vector>

#include "ops/dispatch.h"
#include "tensor/unpack.h"

namespace wan {

void validate(const UnpackArgs& args) {
  constexpr const char* kOp = "unpack";
  check_rank(kOp, "packed", args.packed, 2);
  check_shape(kOp, "out", args.out, args.packed.shape());
  check_activation_dtype(kOp, "out", args.out);
  WAN_CHECK(is_packed(args.packed.dtype()) && fits_rows(args.packed.dtype(), args.packed.dim(1)), kInternal,
            "[{}] rows of {} {} are no packed ones", kOp, args.packed.dim(1),
            dtype_name(args.packed.dtype()));
  WAN_CHECK(args.packed.is_contiguous() && args.out.is_contiguous(), kInternal,
            "[{}] views must be contiguous", kOp);
}

void reference(const UnpackArgs& args) {
  std::vector<float> row(static_cast<std::size_t>(args.out.dim(1)));
  for (std::int64_t r = 0; r < args.out.dim(0); ++r) {
    unpack_values(args.packed.dtype(), args.packed.slice(0, r, r + 1).data(), args.out.dim(1), row.data());
    for (std::int64_t c = 0; c < args.out.dim(1); ++c)
      store_element(args.out, {r, c}, row[static_cast<std::size_t>(c)]);
  }
}

void unpack(ExecContext& ctx, const UnpackArgs& args) {
  validate(args);
  dispatch(ctx, "unpack", args);
}

}  // namespace wan
