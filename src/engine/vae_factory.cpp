#include "engine/vae_factory.h"

#include <algorithm>

#include "models/vae21/vae21.h"
#include "models/vae22/vae22.h"

namespace wan {

namespace {

/// VAE 2.2 has a list of layers in each level, VAE 2.1 one list of all.
bool is_vae22(const WeightScope& scope) {
  const auto entries = scope.report().checkpoint().entries();
  const std::string levels = scope.full_name("encoder.downsamples.0.downsamples.");
  return std::any_of(entries.begin(), entries.end(),
                     [&](const TensorEntry& entry) { return entry.name.starts_with(levels); });
}

}  // namespace

std::unique_ptr<VideoVae> make_vae(const WeightScope& scope) {
  if (is_vae22(scope)) return std::make_unique<Vae22>(scope);
  return std::make_unique<Vae21>(scope);
}

}  // namespace wan
