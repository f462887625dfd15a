// Cleaning of prompts: one case a rule, with results that can be checked by eye. The comparison with Python
// on several hundred prompts is in text_golden_test.cpp.

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "cleaning/html_entities.h"
#include "cleaning/mojibake.h"
#include "cleaning/mojibake_rules.h"
#include "cleaning/prompt_cleaning.h"
#include "cleaning/single_byte_codecs.h"
#include "cleaning/utf8_repair.h"
#include "text/unicode.h"

namespace wan {
namespace {

TEST(CleanPrompt, LeavesPlainTextAlone) {
  EXPECT_EQ(clean_prompt(""), "");
  EXPECT_EQ(clean_prompt("a red circle"), "a red circle");
  EXPECT_EQ(clean_prompt("voilà, 夜空 🏳️‍🌈"), "voilà, 夜空 🏳️‍🌈");
}

TEST(CleanPrompt, CollapsesWhiteSpace) {
  EXPECT_EQ(clean_prompt("  a\t\r\n b\u00a0\u3000c \u2028"), "a b c");
  EXPECT_EQ(clean_prompt(" \n\t "), "");
}

TEST(CleanPrompt, RefusesBytesThatAreNotUtf8) {
  for (const std::string bad :
       {"\xff", "a\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"}) {
    try {
      clean_prompt(bad);
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    }
  }
}

TEST(CleanPrompt, FixesCharacters) {
  EXPECT_EQ(clean_prompt("“it’s” ﬂuﬃest"), "\"it's\" fluffiest");
  EXPECT_EQ(clean_prompt("ＬＯＵＤ　ＮＯＩＳＥＳ，Ｕﾀｰﾝ"), "LOUD NOISES,Uターン");
  EXPECT_EQ(clean_prompt("静态，最差、质量。"), "静态,最差、质量。");
  EXPECT_EQ(clean_prompt("\x1b[36;44mblue\x1b[0m"), "blue");
  EXPECT_EQ(clean_prompt("\ufeffa\a\177b"), "ab");
  EXPECT_EQ(clean_prompt("e\u0301"), "é");
}

TEST(FixText, MakesEveryLineBreakALineFeed) {
  EXPECT_EQ(fix_text(U"a\r\nb\rc\u2028d\u2029e"), U"a\nb\nc\nd\ne");
}

TEST(CleanPrompt, ResolvesReferencesUnlessTheTextIsHtml) {
  EXPECT_EQ(clean_prompt("P&EACUTE;REZ &amp;amp;eacute;"), "PÉREZ é");
  // A '<' stops ftfy, but not the two passes after it.
  EXPECT_EQ(clean_prompt("<b> &amp;amp;lt; &NTILDE;"), "<b> &lt; &NTILDE;");
  EXPECT_EQ(clean_prompt("this&not that &notit;"), "this¬ that ¬it;");
}

TEST(CleanPrompt, UndoesMojibake) {
  EXPECT_EQ(clean_prompt("âœ” No problems"), "✔ No problems");
  EXPECT_EQ(clean_prompt("schÃ¶n"), "schön");
  EXPECT_EQ(clean_prompt("voilÃ le travail"), "voilà le travail");
  EXPECT_EQ(clean_prompt("â€œquoteâ€\ufffd"), "\"quote\ufffd");
  EXPECT_EQ(clean_prompt("ÃƒÂ© twice"), "é twice");
}

TEST(HtmlUnescape, NumericRules) {
  const auto decode = [](std::u32string_view text) { return u32_to_utf8(html_unescape(text)); };
  EXPECT_EQ(decode(U"&#65;&#x42;&#X43"), "ABC");
  EXPECT_EQ(decode(U"&#150;&#x80;"), "–€");
  EXPECT_EQ(decode(U"&#0;&#xD800;&#x110000;&#99999999999999999999;"), "\ufffd\ufffd\ufffd\ufffd");
  EXPECT_EQ(decode(U"[&#1;&#xFDD0;&#x1FFFF;]"), "[]");
  EXPECT_EQ(decode(U"&# &#; &#x; &"), "&# &#; &#x; &");
}

TEST(UnescapePlainEntities, WantsTheSemicolon) {
  const auto decode = [](std::u32string_view text) { return u32_to_utf8(unescape_plain_entities(text)); };
  EXPECT_EQ(decode(U"&amp &amp;"), "&amp &");
  EXPECT_EQ(decode(U"&ntilde; &Ntilde; &NTILDE; &nTILDE;"), "ñ Ñ Ñ &nTILDE;");
  EXPECT_EQ(decode(U"&#12ab; &#59; &#233;"), "&#12ab; &#59; é");
  EXPECT_EQ(decode(U"&CounterClockwiseContourIntegral;"), "&CounterClockwiseContourIntegral;");  // too long
}

TEST(Mojibake, SuspectsUnlikelySequencesOnly) {
  EXPECT_TRUE(looks_like_mojibake(U"Ã©"));
  EXPECT_TRUE(looks_like_mojibake(U"\u0080"));
  EXPECT_TRUE(looks_like_mojibake(U"ГўВЂВ¬a"));  // the rule of seven characters
  EXPECT_FALSE(looks_like_mojibake(U"ГўВЂВ"));
  EXPECT_TRUE(looks_like_mojibake(U"Â b"));  // at the start only
  EXPECT_FALSE(looks_like_mojibake(U"9Â b"));
  EXPECT_FALSE(looks_like_mojibake(U"Ångström, Œuvre, 夜空"));
}

TEST(Utf8Repair, ReplacesSequencesWithLostBytes) {
  EXPECT_EQ(replace_lossy_sequences("\xe2\x80\x1a"), "\ufffd");
  EXPECT_EQ(replace_lossy_sequences("\xe2\x1a\x1a|\xc3?|\xc4?"), "\ufffd|\ufffd|\xc4?");
  EXPECT_EQ(replace_lossy_sequences("a\x1a"), "a\ufffd");
}

TEST(Utf8Repair, DecodesSurrogatePairsAndLongZero) {
  EXPECT_EQ(decode_utf8_variants("\xed\xa0\xbd\xed\xb8\x80"), U"\U0001F600");
  EXPECT_EQ(decode_utf8_variants("a\xc0\x80"), std::u32string(U"a\0", 2));
  EXPECT_EQ(decode_utf8_variants("\xed\xa0\xbd"), std::nullopt);
  EXPECT_EQ(decode_utf8_variants("\xed\x95\x9c"), U"한");
}

TEST(SingleByteCodec, SloppyCodecsEncodeTheReplacementCharacter) {
  const auto codecs = single_byte_codecs();
  EXPECT_EQ(codecs[0].name, "latin-1");
  EXPECT_EQ(encode_single_byte(codecs[0], U"\ufffd"), std::nullopt);
  EXPECT_EQ(encode_single_byte(codecs[1], U"€\u0081\ufffd"), "\x80\x81\x1a");
  EXPECT_EQ(encode_single_byte(codecs[1], U"\x1a"), std::nullopt);
}

}  // namespace
}  // namespace wan
