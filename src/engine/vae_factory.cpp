#include "engine/vae_factory.h"

#include "models/vae21/vae21.h"
#include "models/vae22/vae22.h"

namespace wan {

VaeConfig read_vae_config(const WeightScope& scope) {
  if (looks_like_vae22(scope.report().checkpoint())) return vae22_config(scope);
  return vae21_config(scope);
}

std::unique_ptr<VideoVae> make_vae(const WeightScope& scope, const VaePrecision& precision) {
  if (looks_like_vae22(scope.report().checkpoint())) return std::make_unique<Vae22>(scope, precision);
  return std::make_unique<Vae21>(scope, precision);
}

std::unique_ptr<VideoVae> make_vae(const WeightScope& scope, const VaePrecision& precision,
                                   const VaeConfig& config) {
  if (const auto* vae21 = std::get_if<Vae21Config>(&config))
    return std::make_unique<Vae21>(scope, precision, *vae21);
  return std::make_unique<Vae22>(scope, precision, std::get<Vae22Config>(config));
}

}  // namespace wan
