#include "tokenizers/pre_tokenizers.h"

#include <algorithm>
#include <utility>

#include "text/unicode.h"

namespace wan {
namespace {

class MetaspacePreTokenizer final : public PreTokenizer {
 public:
  explicit MetaspacePreTokenizer(const MetaspaceOptions& options) : options_(options) {}

  void split(AlignedText text, std::vector<AlignedText>& out) const override {
    if (text.text.empty()) return;
    std::replace(text.text.begin(), text.text.end(), U' ', options_.replacement);
    const bool wanted = options_.prepend == PrependScheme::kAlways ||
                        (options_.prepend == PrependScheme::kFirst && text.start == 0);
    if (wanted && text.text.front() != options_.replacement) text.prepend({&options_.replacement, 1});
    if (options_.split == MetaspaceSplit::kNone) {
      out.push_back(std::move(text));
      return;
    }
    for (std::size_t first = 0; first < text.text.size();) {
      const std::size_t last = std::min(text.text.find(options_.replacement, first + 1), text.text.size());
      out.push_back(text.slice(first, last));
      first = last;
    }
  }

 private:
  MetaspaceOptions options_;
};

class WhitespaceSplitPreTokenizer final : public PreTokenizer {
 public:
  void split(AlignedText text, std::vector<AlignedText>& out) const override {
    for (std::size_t first = 0; first < text.text.size();) {
      std::size_t last = first;
      while (last < text.text.size() && !is_white_space(text.text[last])) ++last;
      if (last > first) out.push_back(text.slice(first, last));
      first = last + 1;
    }
  }
};

class SequencePreTokenizer final : public PreTokenizer {
 public:
  explicit SequencePreTokenizer(std::vector<PreTokenizerPtr> steps) : steps_(std::move(steps)) {}

  void split(AlignedText text, std::vector<AlignedText>& out) const override {
    std::vector<AlignedText> stretches;
    if (!text.text.empty()) stretches.push_back(std::move(text));
    for (const PreTokenizerPtr& step : steps_) {
      std::vector<AlignedText> finer;
      for (AlignedText& stretch : stretches) step->split(std::move(stretch), finer);
      stretches = std::move(finer);
    }
    std::move(stretches.begin(), stretches.end(), std::back_inserter(out));
  }

 private:
  std::vector<PreTokenizerPtr> steps_;
};

}  // namespace

PreTokenizerPtr make_metaspace_pre_tokenizer(const MetaspaceOptions& options) {
  return std::make_unique<MetaspacePreTokenizer>(options);
}
PreTokenizerPtr make_whitespace_split_pre_tokenizer() {
  return std::make_unique<WhitespaceSplitPreTokenizer>();
}
PreTokenizerPtr make_sequence_pre_tokenizer(std::vector<PreTokenizerPtr> steps) {
  return std::make_unique<SequencePreTokenizer>(std::move(steps));
}

}  // namespace wan
