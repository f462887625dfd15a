#include "ops/fill_zero.h"

#include <cstring>

#include "ops/dispatch.h"

namespace wan {

void validate(const FillZeroArgs& args) {
  WAN_CHECK(!args.view.empty() || args.view.elements() == 0, kInternal, "[fill_zero] view is missing");
}

void reference(const FillZeroArgs& args) {
  const TensorView& view = args.view;
  if (view.elements() == 0) return;
  if (view.is_contiguous()) {
    std::memset(view.data(), 0, view.bytes());
    return;
  }
  for (std::int64_t i = 0; i < view.dim(0); ++i) {
    if (view.rank() > 1)
      reference(FillZeroArgs{view.select(0, i)});
    else
      std::memset(view.data() + i * view.stride(0) * static_cast<std::int64_t>(dtype_size(view.dtype())), 0,
                  dtype_size(view.dtype()));
  }
}

void fill_zero(ExecContext& ctx, const TensorView& view) {
  const FillZeroArgs args{view};
  validate(args);
  dispatch(ctx, "fill_zero", args);
}

}  // namespace wan
