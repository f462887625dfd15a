#include "tokenizers/unigram_tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "text/unicode.h"

namespace wan {
namespace {

class UnigramTokenizer final : public Tokenizer {
 public:
  explicit UnigramTokenizer(TokenizerParts parts) : parts_(std::move(parts)) {
    parts_.added.prepare(parts_.normalizer.get());
    const auto& added = parts_.added.by_id();
    vocabulary_size_ = parts_.model.size();
    if (!added.empty()) vocabulary_size_ = std::max(vocabulary_size_, added.rbegin()->first + 1);
    pad_id_ = require(parts_.pad_token, "pad");
    eos_id_ = require(parts_.eos_token, "end-of-text");
    for (const auto* ids : {&parts_.token_template.before, &parts_.token_template.after})
      for (std::int64_t id : *ids)
        WAN_CHECK(id >= 0 && id < vocabulary_size_, kBadFile,
                  "[tokenizer] expected ids below {} in the template, got {}; replace tokenizer.json",
                  vocabulary_size_, id);
  }

  std::vector<std::int64_t> encode(std::string_view cleaned) const override {
    const auto text = utf8_to_u32(cleaned);
    WAN_CHECK(text.has_value(), kInvalidArgument,
              "[tokenizer] expected UTF-8 text, got bytes that are not; convert the prompt to UTF-8");
    std::vector<std::int64_t> ids = parts_.token_template.before;
    for (PromptPart& part : parts_.added.split(*text)) {
      if (part.token) {
        ids.push_back(*part.token);
      } else if (parts_.pre_tokenizer) {
        std::vector<AlignedText> stretches;
        parts_.pre_tokenizer->split(std::move(part.text), stretches);
        for (const AlignedText& stretch : stretches) parts_.model.encode(stretch.text, ids);
      } else {
        parts_.model.encode(part.text.text, ids);
      }
    }
    ids.insert(ids.end(), parts_.token_template.after.begin(), parts_.token_template.after.end());
    return ids;
  }

  std::int64_t pad_id() const override { return pad_id_; }
  std::int64_t eos_id() const override { return eos_id_; }
  std::int64_t vocabulary_size() const override { return vocabulary_size_; }
  int closing_tokens() const override { return static_cast<int>(parts_.token_template.after.size()); }

 private:
  std::int64_t require(const std::u32string& token, const char* role) const {
    auto id = parts_.added.find(token);
    if (!id) id = parts_.model.find(token);
    WAN_CHECK(id, kBadFile,
              "[tokenizer] expected the {} token \"{}\" in the vocabulary; replace the tokenizer", role,
              shortened(u32_to_utf8(token)));
    return *id;
  }

  TokenizerParts parts_;
  std::int64_t vocabulary_size_ = 0;
  std::int64_t pad_id_ = 0;
  std::int64_t eos_id_ = 0;
};

}  // namespace

std::unique_ptr<Tokenizer> make_unigram_tokenizer(TokenizerParts parts) {
  return std::make_unique<UnigramTokenizer>(std::move(parts));
}

}  // namespace wan
