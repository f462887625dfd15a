#include <charconv>
#include <optional>
#include <string>

#include "base/checked_math.h"
#include "media/npy.h"

namespace wan {

std::size_t npy_item_size(NpyType type) {
  switch (type) {
    case NpyType::kF32:
      return 4;
    case NpyType::kF64:
    case NpyType::kI64:
      return 8;
    case NpyType::kU8:
      break;
  }
  return 1;
}

const char* npy_descr(NpyType type) {
  switch (type) {
    case NpyType::kF32:
      return "<f4";
    case NpyType::kF64:
      return "<f8";
    case NpyType::kI64:
      return "<i8";
    case NpyType::kU8:
      break;
  }
  return "|u1";
}

namespace {

// NumPy itself refuses more.
constexpr std::size_t kMaxDimensions = 64;

/// The header's Python dictionary: a literal with the keys descr, fortran_order and shape, each once and in
/// any order.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, std::string_view name) : text_(text), name_(name) {}

  void parse() {
    expect('{');
    while (!accept('}')) {
      const std::string_view key = quoted();
      expect(':');
      if (key == "descr" && !descr_) {
        descr_ = quoted();
      } else if (key == "fortran_order" && !fortran_) {
        fortran_ = boolean();
      } else if (key == "shape" && !shape_) {
        shape_ = tuple();
      } else {
        bad();
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_spaces();
    if (at_ != text_.size() || !descr_ || !fortran_ || !shape_) bad();
  }

  std::string_view descr() const { return *descr_; }
  bool fortran() const { return *fortran_; }
  const std::vector<std::int64_t>& shape() const { return *shape_; }

 private:
  [[noreturn]] void bad() const {
    fail(ErrorCode::kBadFile,
         "[npy] {}: expected a header with descr, fortran_order and shape, got something else at byte {} of "
         "it",
         name_, at_);
  }

  void skip_spaces() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }

  bool accept(char c) {
    skip_spaces();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  void expect(char c) {
    if (!accept(c)) bad();
  }

  std::string_view quoted() {
    skip_spaces();
    const char mark = at_ < text_.size() ? text_[at_] : '\0';
    if (mark != '\'' && mark != '"') bad();
    const std::size_t end = text_.find(mark, at_ + 1);
    if (end == std::string_view::npos) bad();
    const std::string_view inside = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return inside;
  }

  bool boolean() {
    skip_spaces();
    for (const auto& [word, value] : {std::pair{std::string_view("True"), true}, {"False", false}}) {
      if (text_.substr(at_).starts_with(word)) {
        at_ += word.size();
        return value;
      }
    }
    bad();
  }

  std::int64_t integer() {
    skip_spaces();
    std::int64_t value = 0;
    const char* end = text_.data() + text_.size();
    const auto [next, error] = std::from_chars(text_.data() + at_, end, value);
    if (error != std::errc() || value < 0) bad();
    at_ = static_cast<std::size_t>(next - text_.data());
    return value;
  }

  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> dims;
    expect('(');
    while (!accept(')')) {
      if (dims.size() == kMaxDimensions) bad();
      dims.push_back(integer());
      const bool comma = accept(',');
      if (!comma && dims.size() == 1) bad();  // "(3)" is a number in Python, not a tuple
      if (!comma) {
        expect(')');
        break;
      }
    }
    return dims;
  }

  std::string_view text_;
  std::string_view name_;
  std::size_t at_ = 0;
  std::optional<std::string_view> descr_;
  std::optional<bool> fortran_;
  std::optional<std::vector<std::int64_t>> shape_;
};

NpyType type_of(std::string_view descr, std::string_view name) {
  for (const NpyType type : {NpyType::kF32, NpyType::kF64, NpyType::kI64, NpyType::kU8}) {
    if (descr == npy_descr(type)) return type;
  }
  // Shown only when it is short and printable: it comes from the file.
  const bool shown =
      descr.size() <= 16 && descr.find_first_not_of(
                                "<>|=?abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == std::string_view::npos;
  fail(ErrorCode::kUnsupported,
       "[npy] {}: expected elements of type <f4, <f8, <i8 or |u1, got {}; convert it with array.astype()",
       name, shown ? descr : std::string_view("another"));
}

}  // namespace

NpyView parse_npy(std::span<const std::byte> bytes, std::string_view name) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  constexpr std::string_view kMagic = "\x93NUMPY";
  WAN_CHECK(text.starts_with(kMagic) && text.size() >= 10, kBadFile, "[npy] {} is not a .npy file", name);
  const auto byte_at = [&](std::size_t i) { return static_cast<std::size_t>(bytes[i]); };
  const std::size_t major = byte_at(6);
  WAN_CHECK((major == 1 || major == 2) && byte_at(7) == 0, kUnsupported,
            "[npy] {}: expected format 1.0 or 2.0, got {}.{}; save it again with numpy.save()", name, major,
            byte_at(7));
  const std::size_t prefix = major == 1 ? 10 : 12;
  WAN_CHECK(text.size() >= prefix, kBadFile, "[npy] {} is truncated in its header", name);
  std::size_t length = byte_at(8) | byte_at(9) << 8;
  if (major == 2) length |= byte_at(10) << 16 | byte_at(11) << 24;
  WAN_CHECK(length <= text.size() - prefix, kBadFile, "[npy] {} is truncated in its header", name);

  HeaderParser header(text.substr(prefix, length), name);
  header.parse();
  WAN_CHECK(!header.fortran(), kUnsupported,
            "[npy] {}: expected C order, got Fortran order; convert it with numpy.ascontiguousarray()", name);
  NpyView view;
  view.type = type_of(header.descr(), name);
  view.shape = header.shape();
  view.data = bytes.subspan(prefix + length);
  const std::int64_t expected =
      checked_mul(checked_product(view.shape, "npy", ErrorCode::kBadFile),
                  static_cast<std::int64_t>(npy_item_size(view.type)), "npy", ErrorCode::kBadFile);
  WAN_CHECK(static_cast<std::uint64_t>(expected) == view.data.size(), kBadFile,
            "[npy] {}: expected {} bytes of elements, got {}; the file is {}", name, expected,
            view.data.size(),
            static_cast<std::uint64_t>(expected) > view.data.size() ? "truncated" : "too long");
  return view;
}

}  // namespace wan
