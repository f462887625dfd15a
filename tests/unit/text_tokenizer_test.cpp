// The parts of the tokenizers, one rule a test, on vocabularies small enough to follow by hand.

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "tokenizers/base64.h"
#include "tokenizers/normalizers.h"
#include "tokenizers/pre_tokenizers.h"
#include "tokenizers/prefix_table.h"
#include "tokenizers/tokenizer.h"
#include "tokenizers/unigram_model.h"

namespace wan {
namespace {

using Ids = std::vector<std::int64_t>;

Ids encode(const UnigramModel& model, std::u32string_view text) {
  Ids ids;
  model.encode(text, ids);
  return ids;
}

TEST(PrefixTable, FindsAllPrefixesShortestFirst) {
  const PrefixTable table({{U"ab", 1}, {U"a", 2}, {U"abc", 3}, {U"b", 4}, {U"", 5}, {U"ab", 6}});
  Ids found;
  table.for_each_prefix(U"xabd", 1, [&](std::size_t, std::int64_t id) { found.push_back(id); });
  EXPECT_EQ(found, (Ids{2, 6}));  // of equal strings the last
  EXPECT_EQ(table.find(U"abc"), 3);
  EXPECT_EQ(table.find(U"abcd"), std::nullopt);
}

TEST(UnigramModel, TakesTheBestPathAndFusesUnknownCharacters) {
  const UnigramModel model({{U"<unk>", 0}, {U"a", -1}, {U"b", -1}, {U"ab", -1.5}, {U"abc", -9}, {U"c", -1}},
                           0, ByteFallback::kOff);
  EXPECT_EQ(encode(model, U"abc"), (Ids{3, 5}));
  EXPECT_EQ(encode(model, U"axyb"), (Ids{1, 0, 2}));
  EXPECT_EQ(encode(model, U""), Ids{});
  EXPECT_EQ(encode(model, U"<unk>x"), (Ids{0}));
}

TEST(UnigramModel, AnUnknownCharacterCostsTenMoreThanTheLeastLikelyPiece) {
  const UnigramModel model({{U"<unk>", 0}, {U"ab", -12}, {U"b", 2}}, 0, ByteFallback::kOff);
  EXPECT_EQ(encode(model, U"ab"), (Ids{1}));  // -12 against -22 + 2
  const UnigramModel gain({{U"<unk>", 0}, {U"ab", -12}, {U"b", 11}}, 0, ByteFallback::kOff);
  EXPECT_EQ(encode(gain, U"ab"), (Ids{0, 2}));  // -12 against -22 + 11
}

TEST(UnigramModel, OfEquallyGoodPathsTheOneWithTheLongerLastPieceStays) {
  const UnigramModel model({{U"<unk>", 0}, {U"a", -1}, {U"b", -1}, {U"ab", -2}}, 0, ByteFallback::kOff);
  EXPECT_EQ(encode(model, U"ab"), (Ids{3}));
}

TEST(UnigramModel, FallsBackToBytesOnlyWhereEveryByteHasAPiece) {
  const UnigramModel model({{U"<unk>", 0}, {U"a", -1}, {U"<0xC3>", 0}, {U"<0xA9>", 0}}, 0, ByteFallback::kOn);
  EXPECT_EQ(encode(model, U"aé"), (Ids{1, 2, 3}));
  EXPECT_EQ(encode(model, U"aéß"), (Ids{1, 0}));
}

TEST(UnigramModel, WantsAnUnknownPieceOnlyWhenThereIsAnUnknownCharacter) {
  const UnigramModel model({{U"a", -1}}, std::nullopt, ByteFallback::kOff);
  EXPECT_EQ(encode(model, U"aa"), (Ids{0, 0}));
  EXPECT_THROW(encode(model, U"ab"), Error);
}

TEST(Base64, DecodesStrictly) {
  EXPECT_EQ(decode_base64("", "x"), "");
  EXPECT_EQ(decode_base64("AP8=", "x"), std::string("\0\xff", 2));
  EXPECT_EQ(decode_base64("TWFu", "x"), "Man");
  for (const char* bad : {"TWF", "TW=u", "TWF*", "TR==", "====", "TWFu\n"})
    EXPECT_THROW(decode_base64(bad, "x"), Error) << bad;
}

TEST(Metaspace, PrefixesAndSplits) {
  const auto pieces = [](const MetaspaceOptions& options, std::size_t from) {
    std::vector<AlignedText> stretches;
    make_metaspace_pre_tokenizer(options)->split(AlignedText(U"a  b", from), stretches);
    std::vector<std::u32string> texts;
    for (const AlignedText& stretch : stretches) texts.push_back(stretch.text);
    return texts;
  };
  using Texts = std::vector<std::u32string>;
  EXPECT_EQ(pieces({}, 0), (Texts{U"▁a", U"▁", U"▁b"}));
  EXPECT_EQ(pieces({.prepend = PrependScheme::kFirst}, 0), (Texts{U"▁a", U"▁", U"▁b"}));
  EXPECT_EQ(pieces({.prepend = PrependScheme::kFirst}, 3), (Texts{U"a", U"▁", U"▁b"}));
  EXPECT_EQ(pieces({.prepend = PrependScheme::kNever, .split = MetaspaceSplit::kNone}, 0), Texts{U"a▁▁b"});
}

TEST(Normalizers, KeepOriginsWhileRewriting) {
  AlignedText text(U"  ab``c ", 10);
  std::vector<TextNormalizerPtr> steps;
  steps.push_back(make_strip_normalizer({}));
  steps.push_back(make_replace_string_normalizer(U"``", U"\"\"\""));
  steps.push_back(make_replace_regex_normalizer(U"b+", U""));
  make_sequence_normalizer(std::move(steps))->normalize(text);
  EXPECT_EQ(text.text, U"a\"\"\"c");
  EXPECT_EQ(text.origin, (std::vector<std::size_t>{12, 15, 15, 15, 16}));
}

TEST(Normalizers, ARegexThatMatchesNothingIsUnsupported) {
  EXPECT_THROW(make_replace_regex_normalizer(U"x*", U"y"), Error);
  EXPECT_THROW(make_replace_regex_normalizer(U"(", U"y"), Error);
  EXPECT_THROW(make_replace_string_normalizer(U"", U"y"), Error);
}

std::string tiny_json(const std::string& more = "") {
  return R"({"version":"1.0","added_tokens":[{"id":0,"content":"<pad>","special":true},)"
         R"({"id":1,"content":"</s>","special":true}],)" +
         more +
         R"("pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always"},)"
         R"("post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A","type_id":0}},)"
         R"({"SpecialToken":{"id":"</s>","type_id":0}}],"pair":[],)"
         R"("special_tokens":{"</s>":{"id":"</s>","ids":[1],"tokens":["</s>"]}}},)"
         R"("model":{"type":"Unigram","unk_id":2,"vocab":[["<pad>",0],["</s>",0],["<unk>",0],["▁a",-1],["b",-2]]}})";
}

TEST(Tokenizer, TruncationKeepsTheEndOfText) {
  const auto tokenizer = parse_tokenizer_json(tiny_json());
  const TokenizedPrompt whole = tokenizer->tokenize("a a", 4);
  EXPECT_EQ(whole.ids, (Ids{3, 3, 1, 0}));
  EXPECT_EQ(whole.mask, (Ids{1, 1, 1, 0}));
  EXPECT_EQ(whole.used, 3);
  EXPECT_FALSE(whole.truncated);
  EXPECT_FALSE(tokenizer->tokenize("a a a", 4).truncated);
  const TokenizedPrompt cut = tokenizer->tokenize("a a a ab a", 4);
  EXPECT_EQ(cut.ids, (Ids{3, 3, 3, 1}));
  EXPECT_EQ(cut.used, 4);
  EXPECT_TRUE(cut.truncated);
  EXPECT_THROW(tokenizer->tokenize("a", 1), Error);
}

TEST(Tokenizer, DescribesItsVocabulary) {
  const auto tokenizer = parse_tokenizer_json(tiny_json());
  EXPECT_EQ(tokenizer->pad_id(), 0);
  EXPECT_EQ(tokenizer->eos_id(), 1);
  EXPECT_EQ(tokenizer->vocabulary_size(), 5);
  EXPECT_EQ(tokenizer->closing_tokens(), 1);
  EXPECT_EQ(tokenizer->encode(""), Ids{1});
  EXPECT_EQ(tokenizer->encode("a</s>b"), (Ids{3, 1, 2, 4, 1}));
  EXPECT_THROW(tokenizer->encode("\xff"), Error);
}

TEST(Tokenizer, NamesAnUnsupportedComponent) {
  try {
    parse_tokenizer_json(tiny_json(R"("normalizer":{"type":"BertNormalizer"},)"));
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("BertNormalizer"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("tokenizer.json.normalizer"), std::string::npos);
  }
}

}  // namespace
}  // namespace wan
