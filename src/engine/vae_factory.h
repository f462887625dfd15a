#pragma once
// Which VAE a file holds.

#include <memory>

#include "models/video_vae/streamed_vae.h"
#include "tasks/vae_config.h"
#include "weights/weight_scope.h"

namespace wan {

/// Dimensions of the VAE whose tensors the scope's file holds. Throws BadFile for a file that holds none.
VaeConfig read_vae_config(const WeightScope& scope);

/// The VAE whose tensors the scope's file holds; with a describing scope it knows its dimensions only.
/// Findings go to the scope's report. Throws BadFile for a file that holds none.
std::unique_ptr<VideoVae> make_vae(const WeightScope& scope, const VaePrecision& precision);
/// With dimensions that are known without a file.
std::unique_ptr<VideoVae> make_vae(const WeightScope& scope, const VaePrecision& precision,
                                   const VaeConfig& config);

}  // namespace wan
