// Cleaned text and ids of several hundred prompts against those of the official code's Python libraries
// (tools/golden/make_text.py). Everything is exact: text and integers.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cleaning/prompt_cleaning.h"
#include "json/strict_json.h"
#include "tokenizers/tokenizer.h"

namespace wan {
namespace {

constexpr int kMaxTokens = 512;
constexpr std::size_t kFewestPrompts = 300;

const std::filesystem::path& golden_folder() {
  static const auto folder = std::filesystem::path(WAN_GOLDEN_DIR) / "text";
  return folder;
}

struct GoldenPrompt {
  std::string prompt;
  std::string cleaned;
  std::vector<std::vector<std::int64_t>> ids;  // by tokenizer, without padding
};

struct Golden {
  std::vector<std::string> tokenizers;
  std::vector<GoldenPrompt> prompts;
};

const Golden& golden() {
  static const auto loaded = [] {
    const auto read = read_json_file(golden_folder() / "prompts.json", 8);
    Golden result;
    result.tokenizers = read["tokenizers"].get<std::vector<std::string>>();
    for (const auto& entry : read["prompts"]) {
      GoldenPrompt prompt;
      prompt.prompt = entry[0].get<std::string>();
      prompt.cleaned = entry[1].is_null() ? prompt.prompt : entry[1].get<std::string>();
      prompt.ids = entry[2].get<std::vector<std::vector<std::int64_t>>>();
      result.prompts.push_back(std::move(prompt));
    }
    return result;
  }();
  return loaded;
}

TEST(TextGolden, HasEnoughPromptsAndCleaningChangesMany) {
  EXPECT_GE(golden().prompts.size(), kFewestPrompts);
  const auto changed = std::count_if(golden().prompts.begin(), golden().prompts.end(),
                                     [](const GoldenPrompt& p) { return p.cleaned != p.prompt; });
  EXPECT_GE(static_cast<std::size_t>(changed), golden().prompts.size() / 3);
}

TEST(TextGolden, CleaningIsPythons) {
  for (const GoldenPrompt& expected : golden().prompts)
    EXPECT_EQ(clean_prompt(expected.prompt), expected.cleaned) << "prompt: " << expected.prompt;
}

class TokenizerGolden : public testing::TestWithParam<std::string> {};

TEST_P(TokenizerGolden, IdsAreHuggingFaces) {
  const auto& names = golden().tokenizers;
  const auto index =
      static_cast<std::size_t>(std::find(names.begin(), names.end(), GetParam()) - names.begin());
  ASSERT_LT(index, names.size());
  const auto tokenizer = load_tokenizer(golden_folder() / GetParam());
  for (const GoldenPrompt& expected : golden().prompts) {
    const TokenizedPrompt got = tokenizer->tokenize(expected.prompt, kMaxTokens);
    const auto used = static_cast<std::size_t>(got.used);
    ASSERT_EQ(got.ids.size(), static_cast<std::size_t>(kMaxTokens));
    ASSERT_EQ(got.mask.size(), got.ids.size());
    EXPECT_EQ(std::vector(got.ids.begin(), got.ids.begin() + got.used), expected.ids[index])
        << "prompt: " << expected.prompt;
    for (std::size_t i = 0; i < got.ids.size(); ++i) {
      ASSERT_EQ(got.mask[i], i < used ? 1 : 0);
      if (i >= used) {
        ASSERT_EQ(got.ids[i], tokenizer->pad_id());
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Folders, TokenizerGolden,
                         testing::Values("umt5_like", "bytes", "first", "first_words", "spiece",
                                         "spiece_identity"),
                         [](const auto& folder) { return folder.param; });

}  // namespace
}  // namespace wan
