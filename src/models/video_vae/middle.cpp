#include "models/video_vae/middle.h"

namespace wan {

Middle::Middle(const WeightScope& scope, std::int64_t channels)
    : name_(tap_name(scope)),
      first_(scope.child("0"), channels, channels),
      attention_(scope.child("1"), channels),
      last_(scope.child("2"), channels, channels) {}

void Middle::forward(ExecContext& ctx, StreamState& state, const TensorView& x) const {
  ctx.enter(name_ + ".0");
  first_.forward(ctx, state, x, x);
  if (ctx.taps) ctx.tap(name_ + ".0", x);
  ctx.check_cancelled();
  ctx.enter(name_ + ".1");
  attention_.forward(ctx, state.strip(), x);
  if (ctx.taps) ctx.tap(name_ + ".1", x);
  ctx.check_cancelled();
  ctx.enter(name_ + ".2");
  last_.forward(ctx, state, x, x);
  if (ctx.taps) ctx.tap(name_ + ".2", x);
}

}  // namespace wan
