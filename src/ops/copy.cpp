#include "ops/copy.h"

#include <cstring>

#include "ops/dispatch.h"

namespace wan {

void validate(const CopyArgs& args) {
  constexpr const char* kOp = "copy";
  WAN_CHECK(!args.from.empty(), kInternal, "[{}] from is missing", kOp);
  check_shape(kOp, "out", args.out, args.from.shape());
  const auto convertible = [](DType d) { return d == DType::kF32 || d == DType::kBF16 || d == DType::kF16; };
  WAN_CHECK(args.from.dtype() == args.out.dtype() ||
                (convertible(args.from.dtype()) && convertible(args.out.dtype())),
            kInternal, "[{}] cannot convert {} to {}", kOp, dtype_name(args.from.dtype()),
            dtype_name(args.out.dtype()));
}

void reference(const CopyArgs& args) {
  if (args.from.rank() == 0) {
    const auto scalar = [](const TensorView& v) { return TensorView(v.data(), v.dtype(), {1}, v.device()); };
    return reference(CopyArgs{scalar(args.from), scalar(args.out)});
  }
  if (args.from.rank() > 1) {
    for (std::int64_t i = 0; i < args.from.dim(0); ++i)
      reference(CopyArgs{args.from.select(0, i), args.out.select(0, i)});
    return;
  }
  const std::size_t size = dtype_size(args.from.dtype());
  for (std::int64_t i = 0; i < args.from.dim(0); ++i) {
    if (args.from.dtype() == args.out.dtype()) {
      std::memcpy(args.out.data() + i * args.out.stride(0) * static_cast<std::int64_t>(size),
                  args.from.data() + i * args.from.stride(0) * static_cast<std::int64_t>(size), size);
    } else {
      store_element(args.out, {i}, load_element(args.from, {i}));
    }
  }
}

void copy(ExecContext& ctx, const CopyArgs& args) {
  validate(args);
  dispatch(ctx, "copy", args);
}

}  // namespace wan
