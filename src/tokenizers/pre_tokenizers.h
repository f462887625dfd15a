#pragma once
// Cutting normalised text into the stretches that the model segments each by itself.

#include <memory>
#include <string_view>
#include <vector>

#include "tokenizers/aligned_text.h"

namespace wan {

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  /// Appends the non-empty stretches of `text` to `out`.
  virtual void split(AlignedText text, std::vector<AlignedText>& out) const = 0;
};

using PreTokenizerPtr = std::unique_ptr<PreTokenizer>;

enum class PrependScheme { kAlways, kFirst, kNever };
enum class MetaspaceSplit { kBeforeReplacement, kNone };

struct MetaspaceOptions {
  char32_t replacement = 0x2581;  // for spaces
  PrependScheme prepend = PrependScheme::kAlways;
  MetaspaceSplit split = MetaspaceSplit::kBeforeReplacement;
};

/// Writes spaces as the replacement character, puts one in front (kFirst: only where the prompt starts) and
/// starts a stretch at each.
PreTokenizerPtr make_metaspace_pre_tokenizer(const MetaspaceOptions& options);
/// Cuts at white space and drops it.
PreTokenizerPtr make_whitespace_split_pre_tokenizer();
/// Every match of a regular expression is a stretch, and so is what lies between two. Throws BadFile as TextPattern does.
PreTokenizerPtr make_split_pre_tokenizer(std::u32string_view pattern);
/// Numeric characters apart from what stands round them, each by itself or together with its neighbours.
enum class DigitRuns { kEachAlone, kTogether };
PreTokenizerPtr make_digits_pre_tokenizer(DigitRuns runs);
/// Each cuts the stretches of the one before.
PreTokenizerPtr make_sequence_pre_tokenizer(std::vector<PreTokenizerPtr> steps);

}  // namespace wan
