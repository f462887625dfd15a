#include "tokenizers/tokenizer.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/mapped_file.h"
#include "cleaning/prompt_cleaning.h"
#include "tokenizers/tokenizer_config.h"
#include "tokenizers/tokenizer_sources.h"
#include "tokenizers/unigram_tokenizer.h"

namespace wan {
namespace {

std::string_view contents(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

// An optional file; its text is empty where it is missing.
class OptionalFile {
 public:
  explicit OptionalFile(const std::filesystem::path& path) {
    if (file_exists(path)) file_ = MappedFile(path);
  }
  std::string_view text() const { return contents(file_); }

 private:
  MappedFile file_;
};

}  // namespace

TokenizedPrompt Tokenizer::tokenize(std::string_view prompt, int max_tokens) const {
  const int closing = closing_tokens();
  WAN_CHECK(
      max_tokens > closing, kInvalidArgument,
      "[tokenizer] expected room for more than the {} closing tokens, got {} in all; ask for more tokens",
      closing, max_tokens);
  TokenizedPrompt result;
  result.cleaned = clean_prompt(prompt);
  result.ids = encode(result.cleaned);
  const auto limit = static_cast<std::size_t>(max_tokens);
  if (result.ids.size() > limit) {
    std::copy(result.ids.end() - closing, result.ids.end(),
              result.ids.begin() + static_cast<std::ptrdiff_t>(max_tokens - closing));
    result.ids.resize(limit);
    result.truncated = true;
  }
  result.used = static_cast<int>(result.ids.size());
  result.mask.assign(result.ids.size(), 1);
  result.ids.resize(limit, pad_id());
  result.mask.resize(limit, 0);
  return result;
}

namespace {

std::unique_ptr<Tokenizer> read_tokenizer(const std::filesystem::path& folder) {
  const std::filesystem::path json_path = folder / "tokenizer.json";
  const std::filesystem::path spiece_path = folder / "spiece.model";
  const OptionalFile config_file(folder / "tokenizer_config.json");
  const OptionalFile special_file(folder / "special_tokens_map.json");
  const TokenizerConfig config = read_tokenizer_config(config_file.text(), special_file.text());

  const bool has_json = file_exists(json_path);
  const bool has_spiece = file_exists(spiece_path);
  WAN_CHECK(
      has_json || has_spiece, kBadFile,
      "expected tokenizer.json or spiece.model, found neither; download google/umt5-xxl of the checkpoint "
      "again");
  const bool from_spiece = has_spiece && (!has_json || config.rebuild_from_spiece);
  const MappedFile file(from_spiece ? spiece_path : json_path);
  TokenizerParts parts =
      from_spiece ? read_spiece_model(contents(file), config.spiece) : read_tokenizer_json(contents(file));
  add_configured_tokens(config, parts.model, parts.added);
  for (auto [key, token] : {std::pair{"pad_token", &parts.pad_token}, {"eos_token", &parts.eos_token}})
    if (const auto named = config.named.find(key); named != config.named.end())
      *token = named->second.content;
  return make_unigram_tokenizer(std::move(parts));
}

}  // namespace

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder) {
  try {
    return read_tokenizer(folder);
  } catch (const Error& error) {
    fail(error.code(), "the tokenizer in {}: {}", folder.string(), error.what());
  }
}

std::unique_ptr<Tokenizer> parse_tokenizer_json(std::string_view json) {
  return make_unigram_tokenizer(read_tokenizer_json(json));
}

std::unique_ptr<Tokenizer> parse_spiece_model(std::string_view bytes) {
  return make_unigram_tokenizer(read_spiece_model(bytes, SpieceOptions{}));
}

}  // namespace wan
