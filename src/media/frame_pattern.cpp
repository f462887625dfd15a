#include "media/frame_pattern.h"

#include "base/error.h"

namespace wan {

bool FramePattern::is_pattern(const std::filesystem::path& path) {
  return path.filename().string().find('%') != std::string::npos;
}

FramePattern::FramePattern(const std::filesystem::path& path) : folder_(path.parent_path()) {
  const auto refuse = [&](const char* got) {
    fail(ErrorCode::kInvalidArgument,
         "cannot write {}: expected exactly one frame number, %d or %05d, in the file name, got {}; name it "
         "like frame_%05d.png (a percent sign itself is %%)",
         path.string(), got);
  };
  const std::string text = path.filename().string();
  int numbers = 0;
  std::size_t at = 0;
  const auto peek = [&](std::size_t ahead) { return at + ahead < text.size() ? text[at + ahead] : '\0'; };
  while (at < text.size()) {
    std::string& part = numbers == 0 ? before_ : after_;
    if (peek(0) != '%') {
      part += text[at++];
    } else if (peek(1) == '%') {
      part += '%';
      at += 2;
    } else if (peek(1) == 'd') {
      ++numbers;
      at += 2;
    } else if (peek(1) == '0' && peek(2) >= '1' && peek(2) <= '9' && peek(3) == 'd') {
      ++numbers;
      digits_ = peek(2) - '0';
      at += 4;
    } else {
      refuse("a % that begins neither");
    }
  }
  if (numbers != 1) refuse(numbers == 0 ? "none" : "more than one");
}

std::filesystem::path FramePattern::name(int number) const {
  return folder_ / fmt::format("{}{:0{}}{}", before_, number, digits_, after_);
}

}  // namespace wan
