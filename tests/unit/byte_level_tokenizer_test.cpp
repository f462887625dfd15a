// The byte-level tokenizer: ids of several hundred texts against transformers' (tools/golden/make_qwen.py), and text again.

#include "tokenizers/byte_level_tokenizer.h"
#include "json/strict_json.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "tokenizers/listed_tokenizer.h"

namespace wan {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(WAN_GOLDEN_DIR);

nlohmann::json read_golden(const char* path) {
  return read_json_file(kFolder / path, 16);
}

std::string file_text(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// Those whose ids "qwen/ids.json" has.
std::vector<std::string> golden_texts() {
  std::vector<std::string> texts;
  const nlohmann::json prompts = read_golden("text/prompts.json");
  for (const auto& entry : prompts["prompts"]) texts.push_back(entry[0]);
  const nlohmann::json golden = read_golden("qwen/ids.json");
  for (const auto& text : golden["extra"]) texts.push_back(text);
  return texts;
}

class ByteLevelGolden : public testing::TestWithParam<std::string> {
 protected:
  const nlohmann::json golden = read_golden("qwen/ids.json");
  const ByteLevelTokenizer tokenizer =
      parse_byte_level_tokenizer(file_text(kFolder / "qwen/tokenizers" / (GetParam() + ".json")));
};

TEST_P(ByteLevelGolden, IdsAreHuggingFaces) {
  const std::vector<std::string> texts = golden_texts();
  ASSERT_GE(texts.size(), 300u);
  ASSERT_EQ(golden[GetParam()].size(), texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i)
    EXPECT_EQ(tokenizer.encode(texts[i]), golden[GetParam()][i].get<std::vector<std::int64_t>>())
        << "text " << i << ": " << texts[i];
}

TEST_P(ByteLevelGolden, IdsBecomeHuggingFacesText) {
  const auto& decoded = golden[GetParam() + ".decoded"];
  ASSERT_GE(decoded.size(), 20u);
  for (const auto& entry : decoded)
    EXPECT_EQ(tokenizer.decode(entry[0].get<std::vector<std::int64_t>>()), entry[1].get<std::string>());
}

INSTANTIATE_TEST_SUITE_P(Files, ByteLevelGolden, testing::Values("qwen", "digits"),
                         [](const auto& name) { return name.param; });

TEST(ByteLevelTokenizer, KnowsItsSpecialTokens) {
  const auto tokenizer = parse_byte_level_tokenizer(file_text(kFolder / "qwen/tokenizers/qwen.json"));
  const auto end = tokenizer.find("<|im_end|>");
  ASSERT_TRUE(end);
  EXPECT_EQ(tokenizer.encode("<|im_end|>"), std::vector{*end});
  EXPECT_EQ(tokenizer.decode(std::vector{*end}), "");
  EXPECT_EQ(tokenizer.find("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer.vocabulary_size(), 524);
}

/// tokenizer.json's pieces, merges and added tokens as a GGUF file lists them.
struct Listed {
  std::vector<std::string> pieces, merges;
  std::vector<std::int64_t> kinds;

  Listed() {
    const nlohmann::json json = read_golden("qwen/tokenizers/qwen.json");
    pieces.resize(json["model"]["vocab"].size());
    for (const auto& [piece, id] : json["model"]["vocab"].items()) pieces[id.get<std::size_t>()] = piece;
    kinds.assign(pieces.size(), 1);
    for (const auto& merge : json["model"]["merges"])
      merges.push_back(merge.is_string() ? merge.get<std::string>()
                                         : merge[0].get<std::string>() + " " + merge[1].get<std::string>());
    for (const auto& token : json["added_tokens"]) {
      pieces.push_back(token["content"]);
      kinds.push_back(token["special"] ? 3 : 4);
    }
    pieces.emplace_back("[PAD524]");
    kinds.push_back(5);
  }

  ByteLevelTokenizer make(std::string_view name = "qwen2") const {
    const std::vector<std::string_view> piece_views(pieces.begin(), pieces.end());
    const std::vector<std::string_view> merge_views(merges.begin(), merges.end());
    return make_listed_tokenizer({.name = name, .pieces = piece_views, .merges = merge_views, .kinds = kinds},
                                 "x.gguf");
  }
};

TEST(ListedTokenizer, IdsAreThoseOfTokenizerJson) {
  const auto expected = parse_byte_level_tokenizer(file_text(kFolder / "qwen/tokenizers/qwen.json"));
  const ByteLevelTokenizer listed = Listed().make();
  std::vector<std::string> texts = golden_texts();
  texts.push_back("<|im_start|>user\na cat<tool_call>[PAD524]<|im_end|>");
  for (const std::string& text : texts) {
    const std::vector<std::int64_t> ids = listed.encode(text);
    EXPECT_EQ(ids, expected.encode(text)) << text;
    EXPECT_EQ(listed.decode(ids), expected.decode(ids));
  }
  EXPECT_EQ(listed.vocabulary_size(), 524);
}

TEST(ListedTokenizer, ListsThatDoNotGoTogetherAreRefused) {
  EXPECT_THROW(Listed().make("llama-bpe"), Error);
  for (const auto& spoil : std::vector<std::function<void(Listed&)>>{
           [](Listed& lists) { lists.kinds.pop_back(); }, [](Listed& lists) { lists.kinds[3] = 6; },
           [](Listed& lists) { lists.kinds[3] = 3; },  // an added token among the pieces
           [](Listed& lists) { lists.merges[0] = "ab"; }, [](Listed& lists) { lists.merges[0] = "no such"; },
           [](Listed& lists) { lists.pieces[3] = "\xff"; }, [](Listed& lists) { lists.pieces = {}; }}) {
    Listed lists;
    spoil(lists);
    EXPECT_THROW(lists.make(), Error);
  }
}

TEST(ByteLevelTokenizer, LeavesOutBytesWithoutAPiece) {
  // As SmolLM2's vocabulary has it, without some control characters.
  std::string some = file_text(kFolder / "qwen/tokenizers/qwen.json");
  some.replace(some.find("\"!\":0"), 5, "\"!!\":0");
  const auto tokenizer = parse_byte_level_tokenizer(some);
  EXPECT_EQ(tokenizer.encode("a!?"), tokenizer.encode("a?"));
  EXPECT_EQ(tokenizer.encode("!"), std::vector<std::int64_t>());
}

TEST(ByteLevelTokenizer, RefusesOtherTokenizers) {
  const std::string good = file_text(kFolder / "qwen/tokenizers/qwen.json");
  const auto expect_refused = [&](const std::string& from, const std::string& to, ErrorCode code) {
    std::string changed = good;
    const std::size_t at = changed.find(from);
    ASSERT_NE(at, changed.npos) << from;
    changed.replace(at, from.size(), to);
    try {
      parse_byte_level_tokenizer(changed);
      ADD_FAILURE() << to;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
    }
  };
  expect_refused("\"BPE\"", "\"Unigram\"", ErrorCode::kUnsupported);
  expect_refused("\"byte_fallback\":false", "\"byte_fallback\":true", ErrorCode::kUnsupported);
  expect_refused("\"NFC\"", "\"Lowercase\"", ErrorCode::kUnsupported);
  expect_refused("\"Isolated\"", "\"Removed\"", ErrorCode::kUnsupported);
  expect_refused("\"!\":0", "\"!\":1", ErrorCode::kBadFile);
  expect_refused("\"merges\":[", "\"merges\":[[\"a\",\"nothing\"],", ErrorCode::kBadFile);
  expect_refused("\\\\p{N}|", "\\\\p{N}|(", ErrorCode::kBadFile);
  EXPECT_THROW(parse_byte_level_tokenizer("{"), Error);
}

}  // namespace
}  // namespace wan
