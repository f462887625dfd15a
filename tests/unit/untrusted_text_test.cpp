// Text from outside on a terminal, in a shell's line and in the log.

#include "base/untrusted_text.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "base/log.h"
#include "base/shell_quote.h"

namespace wan {
namespace {

TEST(UntrustedTextTest, ShellTakesAQuotedPathAsItIs) {
  EXPECT_EQ(shell_quoted("runs/a_b-1.mp4"), "runs/a_b-1.mp4");
  EXPECT_EQ(shell_quoted("two words"), "'two words'");
  EXPECT_EQ(shell_quoted("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_quoted("$(rm *)"), "'$(rm *)'");
  EXPECT_EQ(shell_quoted("a\n$(rm *)'\\\x1b"), "$'a\\012$(rm *)\\047\\134\\033'");
  EXPECT_EQ(shell_quoted("\xe4\x1b"), "$'\\344\\033'");
  EXPECT_EQ(shell_quoted("ä"), "'ä'");
  EXPECT_EQ(shell_quoted("-x"), "./-x");
  EXPECT_EQ(shell_quoted(""), "''");
}

TEST(UntrustedTextTest, LongTextIsCutBetweenCharacters) {
  EXPECT_EQ(shortened("short"), "short");
  std::string umlauts = "x";
  for (int i = 0; i < 1000; ++i) umlauts += "ä";
  const std::string cut = shortened(umlauts);
  EXPECT_LT(cut.size(), 170u);
  EXPECT_TRUE(is_plain_utf8(cut)) << cut;
  EXPECT_EQ(json_reason("[json.exception.parse_error.101] parse error at line 1: bad; last read: 'xyz'"),
            "parse error at line 1: bad");
  EXPECT_EQ(json_reason("plain"), "plain");
}

TEST(UntrustedTextTest, NothingThatATerminalObeysIsShown) {
  EXPECT_EQ(shown("plain \"ä 猫 🔴\" \\"), "plain \"ä 猫 🔴\" \\");
  EXPECT_EQ(shown("\x1b[31mred\x1b]0;title\a\b\r\n\t\x7f"),
            "\\x1b[31mred\\x1b]0;title\\x07\\x08\\r\\n\\t\\x7f");
  EXPECT_EQ(shown(std::string_view("\0", 1)), "\\x00");
  // One code point that begins a sequence as ESC [ does; a line's end; text that is turned round.
  EXPECT_EQ(shown("\u009b31m \u2028 \u202e \u2066"), "\\u009b31m \\u2028 \\u202e \\u2066");
  EXPECT_EQ(shown("caf\xe9 \x9b \xc3"), "caf\\xe9 \\x9b \\xc3");
  EXPECT_EQ(shown("\xc0\x9b"), "\\xc0\\x9b") << "an overlong form";
  EXPECT_EQ(shortened("a\nb"), "a\\nb");
  EXPECT_EQ(shortened("\x1b" + std::string(1000, 'x') + "\x1b").find('\x1b'), std::string::npos);

  EXPECT_EQ(shown_message("it does not fit:\n  1 missing:\n    a\x1b\nerror: forged\n"),
            "it does not fit:\n  1 missing:\n    a\\x1b\\nerror: forged\\n");
  EXPECT_EQ(shown_json("{\n \"a\": \"\\n\x7f\u009b\u202eä\"\n}"),
            "{\n \"a\": \"\\n\\u007f\\u009b\\u202eä\"\n}");
  EXPECT_EQ(without_controls("a\n\x1b[1m\u009bä\xff", '_'), "a__[1m_ä_");
}

TEST(UntrustedTextTest, TheLogShowsNoControlCharacters) {
  testing::internal::CaptureStderr();
  log(LogLevel::kError, "could not remove a\x1b[31m\nerror: b");
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("could not remove a\\x1b[31m\\nerror: b\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace wan
