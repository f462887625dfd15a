#include "tokenizers/added_tokens.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "text/unicode.h"

namespace wan {

std::optional<std::int64_t> AddedVocabulary::find(const std::u32string& content) const {
  const auto found = ids_.find(content);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

bool AddedVocabulary::has(const AddedToken& token) const {
  const auto id = find(token.content);
  return id && by_id_.at(*id) == token;
}

void AddedVocabulary::add(const std::vector<AddedToken>& tokens, const Vocabulary& model) {
  for (const AddedToken& token : tokens)
    if (token.special && !token.content.empty() && special_contents_.insert(token.content).second)
      special_.push_back(token);
  for (const AddedToken& token : tokens) {
    if (token.content.empty() || has(token)) continue;
    auto id = find(token.content);
    if (!id) id = model.find(token.content);
    if (!id) id = by_id_.empty() ? model.size() : std::max(by_id_.rbegin()->first + 1, model.size());
    ids_[token.content] = *id;
    by_id_[*id] = token;
    if (!special_contents_.contains(token.content)) ordinary_.push_back(token);
  }
}

void AddedVocabulary::prepare(const TextNormalizer* normalizer) {
  normalizer_ = normalizer;
  std::vector<std::pair<std::u32string, std::int64_t>> raw;
  std::vector<std::pair<std::u32string, std::int64_t>> normalized;
  for (const auto* list : {&special_, &ordinary_}) {
    for (const AddedToken& token : *list) {
      const std::int64_t id = ids_.at(token.content);
      if (!token.normalized) {
        raw.emplace_back(token.content, id);
        continue;
      }
      AlignedText content(token.content, 0);
      if (normalizer_) normalizer_->normalize(content);
      WAN_CHECK(!content.text.empty(), kUnsupported,
                "[tokenizer] expected added tokens that normalisation leaves something of, nothing is left "
                "of \"{}\"; "
                "set its \"normalized\" to false",
                u32_to_utf8(token.content));
      normalized.emplace_back(std::move(content.text), id);
    }
  }
  // PrefixTable keeps the last of equal strings; here the first has precedence.
  std::reverse(raw.begin(), raw.end());
  std::reverse(normalized.begin(), normalized.end());
  raw_ = PrefixTable(std::move(raw));
  normalized_ = PrefixTable(std::move(normalized));
}

std::vector<PromptPart> AddedVocabulary::split(std::u32string_view prompt) const {
  std::vector<PromptPart> raw_parts;
  cut(AlignedText(prompt, 0), raw_, raw_parts);
  std::vector<PromptPart> parts;
  for (PromptPart& part : raw_parts) {
    if (part.token) {
      parts.push_back(std::move(part));
      continue;
    }
    if (normalizer_) normalizer_->normalize(part.text);
    cut(part.text, normalized_, parts);
  }
  return parts;
}

void AddedVocabulary::cut(const AlignedText& text, const PrefixTable& table,
                          std::vector<PromptPart>& out) const {
  const std::u32string& chars = text.text;
  std::size_t done = 0;
  const auto emit = [&](std::size_t first, std::size_t last, std::optional<std::int64_t> token) {
    if (first < last) out.push_back({text.slice(first, last), token});
  };
  for (std::size_t at = 0; at < chars.size();) {
    std::size_t length = 0;
    std::int64_t id = 0;
    table.for_each_prefix(chars, at, [&](std::size_t found_length, std::int64_t found_id) {
      length = found_length;
      id = found_id;
    });
    if (length == 0) {
      ++at;
      continue;
    }
    std::size_t first = at;
    std::size_t last = at + length;
    at = last;
    const AddedToken& token = by_id_.at(id);
    if (token.single_word &&
        ((first > 0 && is_rust_word(chars[first - 1])) || (last < chars.size() && is_rust_word(chars[last]))))
      continue;
    if (token.lstrip) {
      while (first > done && is_white_space(chars[first - 1])) --first;
      first = std::max(first, done);
    }
    if (token.rstrip)
      while (last < chars.size() && is_white_space(chars[last])) ++last;
    if (done < first) emit(done, first, std::nullopt);
    emit(first, last, id);
    done = last;
  }
  if (done < chars.size()) emit(done, chars.size(), std::nullopt);
}

}  // namespace wan
