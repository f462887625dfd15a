#pragma once
// Which VAE a file holds.

#include <memory>

#include "models/video_vae/streamed_vae.h"
#include "weights/weight_scope.h"

namespace wan {

/// The VAE whose tensors the scope's file holds; with a describing scope it knows its dimensions and plans only.
/// Findings go to the scope's report. Throws BadFile for a file that holds none.
std::unique_ptr<VideoVae> make_vae(const WeightScope& scope, const VaePrecision& precision);

}  // namespace wan
