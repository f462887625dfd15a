// Errors: their codes, the members that their messages name, and the log's spelling of them.

#include "base/error.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "base/checked_math.h"
#include "base/log.h"

namespace wan {
namespace {

TEST(ErrorTest, CheckThrowsItsCodeAndMessage) {
  try {
    WAN_CHECK(1 == 2, kBadFile, "[test] expected {}, got {}", 1, 2);
    FAIL() << "WAN_CHECK did not throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadFile);
    EXPECT_STREQ(error.what(), "[test] expected 1, got 2");
  }
}

/// The field of what `function` throws.
template <typename Function>
std::string field_of_error(Function&& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.field();
  }
  return "no error";
}

TEST(ErrorTest, AnErrorsFieldIsTheMemberThatItsMessageBeginsWith) {
  EXPECT_EQ(field_of_error([] { fail(ErrorCode::kIo, "`t5_cpu` needs a `device`"); }), "t5_cpu");
  EXPECT_EQ(field_of_error([] { WAN_CHECK(false, kIo, "{}: missing", "`image`"); }), "image");
  EXPECT_EQ(field_of_error([] { fail(ErrorCode::kIo, "choose a smaller `size`"); }), "");
  EXPECT_EQ(field_of_error([] { fail(ErrorCode::kIo, "{}", ""); }), "");
  for (const char* other : {"`", "``", "`size", "`Size` x", "`a b` x", "\\`size` x"})
    EXPECT_EQ(Error(ErrorCode::kIo, other).field(), "") << other;
}

TEST(ErrorTest, AFieldMayBeSaidApartFromTheMessage) {
  EXPECT_EQ(field_of_error([] { fail_field(ErrorCode::kIo, "task", "use `size`"); }), "task");
  EXPECT_EQ(field_of_error([] { WAN_CHECK_FIELD(false, kIo, "task", "`size` {}", 1); }), "task");
  EXPECT_EQ(field_of_error([] { with_field("image", [] { fail(ErrorCode::kIo, "damaged"); }); }), "image");
  EXPECT_EQ(field_of_error([] { with_field("image", [] { fail(ErrorCode::kIo, "`crf` 99"); }); }), "crf");
  EXPECT_EQ(with_field("image", [] { return 3; }), 3);
}

/// As on a command line.
std::string with_dashes(std::string_view message) {
  return spell_fields(message, [](std::string_view field) { return "--" + std::string(field); });
}

TEST(ErrorTest, MembersAreSpelledAsTheReaderKnowsThem) {
  EXPECT_EQ(with_dashes("`size` 33*32: choose a smaller `size`, or `residency` streamed"),
            "--size 33*32: choose a smaller --size, or --residency streamed");
  EXPECT_EQ(with_dashes("``size``, `x"), "`--size`, `x");
  EXPECT_EQ(with_dashes("no `Size`, no `a b`, a \\`size\\`"), "no `Size`, no `a b`, a `size`");
  EXPECT_EQ(with_dashes(""), "");
}

TEST(ErrorTest, TextFromOutsideNamesNoMember) {
  for (const std::string text :
       {"`size`", "``size``", "\\`size\\`", "`", "\\", "\\\\`size`", "a`size`b`", "\\\\", "`size`\\"}) {
    EXPECT_EQ(with_dashes(literal_text(text)), text);
    const std::string_view view = text;
    const std::vector<std::string> list{text, text};
    const std::string message = format_message("`size` {}, {}, {}: `crf`", text, view, fmt::join(list, " "));
    EXPECT_EQ(with_dashes(message), fmt::format("--size {0}, {0}, {0} {0}: --crf", text));
    const auto refused = [&] { fail(ErrorCode::kIo, "{}: damaged", text); };
    EXPECT_EQ(field_of_error(refused), "");
    try {  // and not when the message becomes a part of another
      refused();
    } catch (const Error& error) {
      const MessagePart part{format_message("{}; `crf`", error.what())};
      EXPECT_EQ(with_dashes(format_message("{} {}", part, text)),
                fmt::format("{0}: damaged; --crf {0}", text));
    }
  }
}

TEST(ErrorTest, LogLinesSpellMembersToo) {
  testing::internal::CaptureStderr();
  log(LogLevel::kError, format_message("`size` {}", "a"));
  set_log_spelling([](std::string_view field) { return "--" + std::string(field); });
  log(LogLevel::kError, format_message("`size` {}", std::string("`crf`")));
  set_log_spelling({});
  const std::string lines = testing::internal::GetCapturedStderr();
  EXPECT_NE(lines.find("`size` a\n"), std::string::npos) << lines;
  EXPECT_NE(lines.find("--size `crf`\n"), std::string::npos) << lines;
}

TEST(ErrorTest, CodesMapToDistinctExitStatuses) {
  EXPECT_EQ(exit_status(ErrorCode::kInvalidArgument), 64);
  EXPECT_EQ(exit_status(ErrorCode::kCancelled), 130);
  EXPECT_EQ(http_status(ErrorCode::kUnsupported), 501);
  EXPECT_STREQ(error_code_name(ErrorCode::kBadFile), "bad_file");
}

TEST(ErrorTest, CheckedMathRefusesOverflowAndNegatives) {
  const std::int64_t big = std::numeric_limits<std::int64_t>::max();
  EXPECT_THROW(checked_mul<std::int64_t>(big, 2, "t"), Error);
  EXPECT_THROW(checked_add<std::int64_t>(big, 1, "t"), Error);
  const std::int64_t overflowing[] = {1LL << 32, 1LL << 32};
  EXPECT_THROW(checked_product(overflowing, "t"), Error);
  const std::int64_t negative[] = {4, -1};
  EXPECT_THROW(checked_product(negative, "t"), Error);
  const std::int64_t fine[] = {3, 0, 5};
  EXPECT_EQ(checked_product(fine, "t"), 0);
}

}  // namespace
}  // namespace wan
