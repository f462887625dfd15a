#include "engine/vae_factory.h"

#include "models/vae21/vae21.h"
#include "models/vae22/vae22.h"

namespace wan {

std::unique_ptr<VideoVae> make_vae(const WeightScope& scope, const VaePrecision& precision) {
  if (looks_like_vae22(scope.report().checkpoint())) return std::make_unique<Vae22>(scope, precision);
  return std::make_unique<Vae21>(scope, precision);
}

}  // namespace wan
