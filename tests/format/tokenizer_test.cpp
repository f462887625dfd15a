// Tokenizer files that are wrong in every way a file can be: each gives an Error that names the place, and none more
// than that.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "base/error.h"
#include "tokenizers/tokenizer.h"

namespace wan {
namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::filesystem::path golden_text(const std::string& name) {
  return std::filesystem::path(WAN_GOLDEN_DIR) / "text" / name;
}

// The parts of a good tokenizer.json; each test spoils one.
struct JsonParts {
  std::string version = R"("1.0")";
  std::string added =
      R"([{"id":0,"content":"<pad>","special":true},{"id":1,"content":"</s>","special":true}])";
  std::string normalizer = "null";
  std::string pre_tokenizer = R"({"type":"Metaspace","replacement":"_"})";
  std::string post_processor = "null";
  std::string vocab = R"([["<pad>",0],["</s>",0],["<unk>",0],["_a",-1]])";
  std::string unknown_id = "2";
  std::string model_type = R"("Unigram")";

  std::string text() const {
    return R"({"version":)" + version + R"(,"added_tokens":)" + added + R"(,"normalizer":)" + normalizer +
           R"(,"pre_tokenizer":)" + pre_tokenizer + R"(,"post_processor":)" + post_processor +
           R"(,"model":{"type":)" + model_type + R"(,"unk_id":)" + unknown_id + R"(,"vocab":)" + vocab + "}}";
  }
};

void expect_json_refused(const std::string& json, const std::string& word) {
  try {
    parse_tokenizer_json(json)->encode("a text");
    ADD_FAILURE() << "accepted: " << json.substr(0, 300);
  } catch (const Error& error) {
    EXPECT_TRUE(error.code() == ErrorCode::kBadFile || error.code() == ErrorCode::kUnsupported)
        << error.what();
    EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
  }
}

TEST(TokenizerJson, TheUnspoiledFileIsAccepted) {
  EXPECT_EQ(parse_tokenizer_json(JsonParts{}.text())->encode("a"), std::vector<std::int64_t>{3});
}

TEST(TokenizerJson, RefusesWhatIsNoJsonOrNoTokenizer) {
  const std::string good = JsonParts{}.text();
  expect_json_refused("", "JSON");
  expect_json_refused("[]", "tokenizer.json");
  expect_json_refused("{}", "model");
  expect_json_refused("\xff\xfe", "JSON");
  for (std::size_t length = 1; length < good.size(); length += 7)
    expect_json_refused(good.substr(0, length), "JSON");
  expect_json_refused(std::string(100000, '['), "JSON");
  expect_json_refused(JsonParts{.version = R"("1.0","version":"1.0")"}.text(), "'version' stands twice");
  expect_json_refused(JsonParts{.version = R"("2.0")"}.text(), "2.0");
  expect_json_refused(JsonParts{.model_type = R"("BPE")"}.text(), "BPE");
}

TEST(TokenizerJson, RefusesBadVocabularies) {
  expect_json_refused(JsonParts{.vocab = "[]"}.text(), "vocabulary");
  expect_json_refused(JsonParts{.vocab = "{}"}.text(), "vocab");
  expect_json_refused(JsonParts{.vocab = R"([["<pad>"]])"}.text(), "pairs");
  expect_json_refused(JsonParts{.vocab = R"([["<pad>","0"]])"}.text(), "number");
  expect_json_refused(JsonParts{.vocab = R"([[0,0]])"}.text(), "string");
  expect_json_refused(JsonParts{.vocab = R"([["<pad>",1e999]])"}.text(), "JSON");
  expect_json_refused(JsonParts{.vocab = "[[\"\xff\",0]]"}.text(), "JSON");
  expect_json_refused(JsonParts{.unknown_id = "4"}.text(), "unknown");
  expect_json_refused(JsonParts{.unknown_id = "-1"}.text(), "unk_id");
  expect_json_refused(JsonParts{.unknown_id = "1.5"}.text(), "unk_id");
  expect_json_refused(JsonParts{.unknown_id = "18446744073709551615"}.text(), "unk_id");
  expect_json_refused(JsonParts{.unknown_id = "null"}.text(),
                      "unknown token");  // there is an unknown character
}

TEST(TokenizerJson, RefusesBadAddedTokens) {
  expect_json_refused(JsonParts{.added = R"([{"id":0}])"}.text(), "content");
  expect_json_refused(JsonParts{.added = R"([{"id":0,"content":7}])"}.text(), "content");
  expect_json_refused(JsonParts{.added = R"([{"id":0,"content":"x","special":"yes"}])"}.text(), "special");
  expect_json_refused(JsonParts{.added = R"([{"content":" ","normalized":true}])",
                                .normalizer = R"({"type":"Strip","strip_left":true,"strip_right":true})"}
                          .text(),
                      "nothing is left");
}

TEST(TokenizerJson, RefusesBadComponents) {
  expect_json_refused(JsonParts{.normalizer = R"({"type":"Lowercase"})"}.text(), "Lowercase");
  expect_json_refused(JsonParts{.normalizer = R"({"strip_left":true})"}.text(), "type");
  expect_json_refused(JsonParts{.normalizer = R"({"type":"Strip"})"}.text(), "strip_left");
  expect_json_refused(
      JsonParts{.normalizer = R"({"type":"Replace","pattern":{"Regex":"("},"content":""})"}.text(),
      "regular expression");
  expect_json_refused(JsonParts{.normalizer = R"({"type":"Replace","pattern":{},"content":""})"}.text(),
                      "Regex");
  expect_json_refused(JsonParts{.pre_tokenizer = R"({"type":"ByteLevel"})"}.text(), "ByteLevel");
  expect_json_refused(JsonParts{.pre_tokenizer = R"({"type":"Metaspace","replacement":"ab"})"}.text(),
                      "replacement");
  expect_json_refused(
      JsonParts{.pre_tokenizer = R"({"type":"Metaspace","replacement":"_","prepend_scheme":"last"})"}.text(),
      "last");
  expect_json_refused(
      JsonParts{.pre_tokenizer = R"({"type":"Metaspace","replacement":"_","add_prefix_space":false})"}.text(),
      "add_prefix_space");
  expect_json_refused(JsonParts{.post_processor = R"({"type":"BertProcessing"})"}.text(), "BertProcessing");
  expect_json_refused(
      JsonParts{.post_processor = R"({"type":"TemplateProcessing","single":[],"special_tokens":{}})"}.text(),
      "template");
  expect_json_refused(
      JsonParts{
          .post_processor =
              R"({"type":"TemplateProcessing","single":[{"Sequence":{"id":"A"}},{"SpecialToken":{"id":"x"}}],)"
              R"("special_tokens":{"x":{"ids":[99]}}})"}
          .text(),
      "99");
}

TEST(TokenizerJson, RefusesDeepSequences) {
  std::string deep = R"({"type":"NFC"})";
  for (int i = 0; i < 1000; ++i) deep = R"({"type":"Sequence","normalizers":[)" + deep + "]}";
  expect_json_refused(JsonParts{.normalizer = deep}.text(), "nested");
}

TEST(TokenizerJson, CutsOffARunawayRegularExpression) {
  const auto tokenizer = parse_tokenizer_json(JsonParts{
      .normalizer = R"({"type":"Replace","pattern":{"Regex":"(a+)+(a+)+(a+)+(a+)+$"},"content":"b"})"}
                                                  .text());
  EXPECT_THROW(tokenizer->encode(std::string(4000, 'a') + "!"), Error);
}

TEST(TokenizerJson, RefusesBadCharacterMaps) {
  const auto with_map = [](const std::string& base64) {
    return JsonParts{.normalizer = R"({"type":"Precompiled","precompiled_charsmap":")" + base64 + R"("})"}
        .text();
  };
  expect_json_refused(with_map("x"), "base64");
  expect_json_refused(with_map(""), "character map");
  expect_json_refused(with_map("AAAAAA=="), "trie");           // no trie
  expect_json_refused(with_map("/////wAAAAA="), "trie");       // a trie of 4 GiB
  expect_json_refused(with_map("BAAAAP////8="), "outside");    // a trie that points outside itself
  expect_json_refused(with_map("BAAAAAAAAAD/"), "not UTF-8");  // replacements that are not UTF-8
  expect_json_refused(JsonParts{.normalizer = R"({"type":"Precompiled","precompiled_charsmap":null})"}.text(),
                      "charsmap");
}

// Every byte of a real file changed at some place must give a tokenizer or an Error.
TEST(SpieceModel, SurvivesTruncationAndChangedBytes) {
  const std::string good = read_file(golden_text("spiece_identity/spiece.model"));
  ASSERT_GT(good.size(), 1000u);
  EXPECT_NO_THROW(parse_spiece_model(good));
  const auto try_it = [](const std::string& bytes) {
    try {
      parse_spiece_model(bytes)->encode("a red circle 圆");
      return true;
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ErrorCode::kBadFile || error.code() == ErrorCode::kUnsupported)
          << error.what();
      return false;
    }
  };
  for (std::size_t length = 0; length < good.size(); length += 61) try_it(good.substr(0, length));
  int refused = 0;
  for (std::size_t at = 0; at < good.size(); at += 53) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x80);
    if (!try_it(bad)) ++refused;
  }
  EXPECT_GT(refused, 10);
}

std::string field_bytes(int field, const std::string& bytes) {
  std::string out(1, static_cast<char>(field << 3 | 2));
  for (std::size_t size = bytes.size(); true; size >>= 7) {
    out.push_back(static_cast<char>((size & 0x7F) | (size > 0x7F ? 0x80 : 0)));
    if (size <= 0x7F) break;
  }
  return out + bytes;
}

std::string piece(const std::string& text, int type, const std::string& score = std::string(4, '\0')) {
  return field_bytes(1, field_bytes(1, text) + "\x15" + score + "\x18" + static_cast<char>(type));
}

void expect_spiece_refused(const std::string& bytes, const std::string& word) {
  try {
    parse_spiece_model(bytes);
    ADD_FAILURE() << "accepted, expected: " << word;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
  }
}

TEST(SpieceModel, ChecksItsVocabulary) {
  const std::string start = piece("<pad>", 3) + piece("</s>", 3);
  const std::string unknown = piece("<unk>", 2);
  EXPECT_NO_THROW(parse_spiece_model(start + unknown));
  expect_spiece_refused("", "unknown");
  expect_spiece_refused(start, "unknown");
  expect_spiece_refused(start + unknown + piece("x", 2), "unknown");
  expect_spiece_refused(start + unknown + piece("", 1), "empty");
  expect_spiece_refused(start + unknown + piece("x", 1) + piece("x", 1), "twice");
  expect_spiece_refused(start + unknown + piece("\xff", 1), "UTF-8");
  expect_spiece_refused(start + unknown + piece("x", 9), "type");
  expect_spiece_refused(start + unknown + piece("x", 1, std::string("\0\0\xc0\x7f", 4)), "finite");
  expect_spiece_refused(piece("<pad>", 3) + unknown, "</s>");
  expect_spiece_refused(piece("</s>", 3) + unknown, "pad");
  expect_spiece_refused(start + unknown + field_bytes(2, std::string("\x18\x02", 2)), "unigram");
  expect_spiece_refused(start + unknown + field_bytes(2, std::string("\xc0\x02\x7f", 3)),
                        "unknown");                                // id 127
  expect_spiece_refused(start + unknown + "\x0b", "kind");         // a group
  expect_spiece_refused(start + unknown + "\x0a\xff\x7f", "end");  // a length past the end
  expect_spiece_refused(start + unknown + std::string(11, '\xff'), "number");
  expect_spiece_refused(start + unknown + field_bytes(3, field_bytes(2, "abc")), "character map");
}

class TokenizerFolder : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              ("tokenizer_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }

  std::filesystem::path folder_;
};

TEST_F(TokenizerFolder, NeedsATokenizer) {
  try {
    load_tokenizer(folder_);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadFile);
    EXPECT_NE(std::string(error.what()).find(folder_.string()), std::string::npos);
  }
}

TEST_F(TokenizerFolder, RefusesABadConfiguration) {
  write("tokenizer.json", JsonParts{}.text());
  EXPECT_NO_THROW(load_tokenizer(folder_));
  for (const char* bad :
       {"{", "[]", R"({"extra_ids":-1})", R"({"extra_ids":1000000000})", R"({"extra_ids":"x"})",
        R"({"eos_token":5})", R"({"pad_token":{}})", R"({"added_tokens_decoder":[]})",
        R"({"added_tokens_decoder":{"x":{"content":"y"}}})", R"({"added_tokens_decoder":{"1":"y"}})",
        R"({"additional_special_tokens":{}})", R"({"truncation_side":"left"})", R"({"legacy":"no"})",
        R"({"extra_ids":3,"additional_special_tokens":["<extra_id_0>"]})"}) {
    write("tokenizer_config.json", bad);
    EXPECT_THROW(load_tokenizer(folder_), Error) << bad;
  }
}

TEST_F(TokenizerFolder, AddsTheConfiguredTokens) {
  write("tokenizer.json", JsonParts{}.text());
  write("tokenizer_config.json", R"({"extra_ids":2,"additional_special_tokens":[]})");
  const auto tokenizer = load_tokenizer(folder_);
  EXPECT_EQ(tokenizer->vocabulary_size(), 6);
  EXPECT_EQ(tokenizer->encode("<extra_id_1>a<extra_id_0>"), (std::vector<std::int64_t>{5, 3, 4}));
}

TEST_F(TokenizerFolder, SpecialTokensOfTheMapAreLookedForInTheTextAsItIs) {
  write("tokenizer.json",
        JsonParts{.normalizer = R"({"type":"Replace","pattern":{"String":"S"},"content":"a"})"}.text());
  write("tokenizer_config.json", R"({"extra_ids":0})");
  write("special_tokens_map.json", R"({"sep_token":{"content":"<S>"}})");
  const auto tokenizer = load_tokenizer(folder_);
  EXPECT_EQ(tokenizer->encode("S<S>S"), (std::vector<std::int64_t>{3, 4, 3}));
}

}  // namespace
}  // namespace wan
