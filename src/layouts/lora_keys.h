#pragma once
// What the keys of a LoRA's file mean: which of a transformer's modules each is of, and what of the addition to it.

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "weights/checkpoint.h"

namespace wan {

/// What of an addition a tensor is.
enum class LoraRole {
  kDown,
  kUp,
  kCore,   // low rank: up * down, or with LoCon's core between them
  kAlpha,  // over the rank it is the addition's factor
  kDiff,
  kDiffBias,
  kDiffModulation,
  kSet,        // whole differences, or the weight itself
  kMagnitude,  // DoRA's
  kHadaW1a,
  kHadaW1b,
  kHadaW2a,
  kHadaW2b,
  kHadaT1,
  kHadaT2,  // LoHa: (w1_a w1_b) . (w2_a w2_b), or with cores between them
  kKronW1,
  kKronW1a,
  kKronW1b,
  kKronW2,
  kKronW2a,
  kKronW2b,
  kKronT2  // LoKr: kron(w1, w2), either as a product, the second with a core too
};

enum class LoraPlace {
  kApplies,
  kImageAttention,  // of Wan2.1's cross-attention to images, which Wan2.2 has not
  kOtherExpert,     // "transformer." in a file that has "transformer_2." too
  kTextEncoder,
  kUnknown,
};

struct LoraKey {
  LoraPlace place = LoraPlace::kUnknown;
  LoraRole role = LoraRole::kDown;
  std::string module;  // official: "blocks.0.self_attn.q"
};

/// Reads keys against the names of a transformer's own tensors, official ones.
class LoraKeyReader {
 public:
  explicit LoraKeyReader(const Checkpoint& transformer);

  /// `low_noise`: the expert whose tensors diffusers has below "transformer_2."; `both`: the file has such keys at all.
  LoraKey read(std::string_view key, bool low_noise, bool both) const;

 private:
  /// The official module of one that diffusers or kohya's scripts named; empty for none.
  std::string module_of(std::string_view name) const;

  std::unordered_map<std::string, std::string>
      modules_;  // dots, diffusers' names and these with '_' for '.', to official ones
};

}  // namespace wan
