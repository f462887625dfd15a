#pragma once
// Which VAE a file holds.

#include <memory>
#include <variant>

#include "models/vae21/config.h"
#include "models/vae22/config.h"
#include "models/video_vae/streamed_vae.h"
#include "weights/weight_scope.h"

namespace wan {

using VaeConfig = std::variant<Vae21Config, Vae22Config>;

/// Dimensions of the VAE whose tensors the scope's file holds. Throws BadFile for a file that holds none.
VaeConfig read_vae_config(const WeightScope& scope);
VaeGeometry geometry_of(const VaeConfig& config);

/// The VAE whose tensors the scope's file holds; with a describing scope it knows its dimensions only.
/// Findings go to the scope's report. Throws BadFile for a file that holds none.
std::unique_ptr<VideoVae> make_vae(const WeightScope& scope, const VaePrecision& precision);
/// Of dimensions that are known without a file.
std::unique_ptr<VideoVae> make_vae(const WeightScope& scope, const VaePrecision& precision,
                                   const VaeConfig& config);

}  // namespace wan
