#pragma once
// Checking models against their files without loading them: every tensor's name and shape, both ways.

#include "models/clip/clip_vision.h"
#include "models/umt5/umt5_encoder.h"
#include "models/wan/transformer.h"
#include "models/wav2vec2/wav2vec2.h"
#include "weights/weight_report.h"

namespace wan {

/// Dimensions of a model, and what its file lacks or has too many (in the report that was passed).
/// Of a transformer's folder or file, whose config.json may be diffusers'; a file may have none, and then its shapes tell.
WanConfig check_transformer(const std::filesystem::path& path, WeightReport& report);
Umt5Config check_text_encoder(WeightReport& report);
Wav2Vec2Config check_audio_encoder(const std::filesystem::path& folder, WeightReport& report);
ClipConfig check_image_encoder(WeightReport& report);

/// Ask a scope for every weight of a model and load none: what is missing then is what the model's file holds.
void declare_transformer(const WanConfig& config, const WeightScope& scope);
void declare_text_encoder(const Umt5Config& config, const WeightScope& scope);

/// Throws one BadFile that lists the findings of all reports; does nothing where all are clean.
void throw_findings(std::span<const WeightReport* const> reports);

}  // namespace wan
