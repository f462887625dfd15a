#pragma once
// Checking models against their files without loading them: every tensor's name and shape, both ways.

#include "models/umt5/umt5_encoder.h"
#include "models/wan/transformer.h"
#include "weights/weight_report.h"

namespace wan {

/// Dimensions of a model, and what its file lacks or has too many (in the report that was passed).
struct CheckedTransformer {
  WanConfig config;
  std::size_t other_bytes;  // f32 bytes of what lies outside the blocks
};
CheckedTransformer check_transformer(const std::filesystem::path& folder, WeightReport& report);
Umt5Config check_text_encoder(WeightReport& report);

/// Throws one BadFile that lists the findings of all reports; does nothing where all are clean.
void throw_findings(std::span<const WeightReport* const> reports);

}  // namespace wan
