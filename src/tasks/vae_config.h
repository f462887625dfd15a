#pragma once
// Dimensions of either VAE.

#include <variant>

#include "models/vae21/config.h"
#include "models/vae22/config.h"

namespace wan {

using VaeConfig = std::variant<Vae21Config, Vae22Config>;

inline VaeGeometry geometry_of(const VaeConfig& config) {
  return std::visit([](const auto& known) { return known.geometry(); }, config);
}

}  // namespace wan
