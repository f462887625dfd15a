#pragma once
// LoRAs merged into a transformer's weights as these are loaded.

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "layouts/lora_changes.h"

namespace wan {

/// One that is to be merged.
struct LoraUse {
  std::filesystem::path file;
  double strength = 1;
  /// A model's own: with a pair for each matrix of its blocks, and nothing else; of its keys nothing is told, and alpha is the rank.
  bool complete = false;
};

/// A transformer with LoRAs, and what became of their keys.
struct LoraMerge {
  Checkpoint transformer;
  std::vector<std::string> notices;  // a line a file: "320 of 320 modules applied ..."
};

/// `transformer` has official names; `title` is what a person calls it ("high-noise expert"), `low_noise` whether it is that of two. All
/// LoRAs are added in f32, in their order, and rounded once. Throws BadFile, naming the first ones, for keys that are not known, unless
/// `allow_unmatched`, for a file of which nothing applies, and for shapes that do not fit; Unsupported for text encoders' LoRAs.
LoraMerge merge_loras(const Checkpoint& transformer, std::span<const LoraUse> loras, const std::string& title,
                      bool low_noise, bool allow_unmatched);

}  // namespace wan
