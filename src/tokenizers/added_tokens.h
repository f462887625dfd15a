#pragma once
// Tokens that are looked for in the text itself, before or after it is normalised: </s>, <extra_id_7> and so
// on.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tokenizers/aligned_text.h"
#include "tokenizers/normalizers.h"
#include "tokenizers/prefix_table.h"
#include "tokenizers/vocabulary.h"

namespace wan {

struct AddedToken {
  std::u32string content;
  bool single_word = false;  // not next to a word character
  bool lstrip = false;       // takes the white space on its left with it
  bool rstrip = false;
  bool normalized = false;  // looked for in normalised text, in its normalised form
  bool special = false;

  bool operator==(const AddedToken&) const = default;
};

/// A stretch of a prompt: text still to be segmented, or a token found.
struct PromptPart {
  AlignedText text;
  std::optional<std::int64_t> token;
};

class AddedVocabulary {
 public:
  /// Adds tokens in order; one that the model has keeps the model's id, others get the next free ids. A token
  /// with the same content replaces the flags of an earlier one. Empty ones are ignored.
  void add(const std::vector<AddedToken>& tokens, const Vocabulary& model);

  /// To be called after the last add(). `normalizer` may be null.
  void prepare(const TextNormalizer* normalizer);

  std::optional<std::int64_t> find(const std::u32string& content) const;
  bool has(const AddedToken& token) const;
  /// Id and token of each, in order of id.
  const std::map<std::int64_t, AddedToken>& by_id() const { return by_id_; }

  /// Cuts the prompt at the tokens found in it and normalises the rest; no part is empty.
  std::vector<PromptPart> split(std::u32string_view prompt) const;

 private:
  void cut(const AlignedText& text, const PrefixTable& table, std::vector<PromptPart>& out) const;

  std::map<std::u32string, std::int64_t> ids_;
  std::map<std::int64_t, AddedToken> by_id_;
  // As first given, in this order of precedence: whether a token is looked for before or after normalising
  // does not change when it is given again.
  std::vector<AddedToken> special_;
  std::vector<AddedToken> ordinary_;
  std::set<std::u32string> special_contents_;
  const TextNormalizer* normalizer_ = nullptr;
  PrefixTable raw_;
  PrefixTable normalized_;
};

}  // namespace wan
