#pragma once
// WireReader: the fields of one protobuf message in untrusted memory, each bounds-checked.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace wan::onnx {

/// A field. Which of the two members holds its value depends on the wire type.
struct WireField {
  enum class Type : std::uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
  std::uint32_t number = 0;
  Type type = Type::kVarint;
  std::uint64_t value = 0;           // of a varint or a fixed number
  std::span<const std::byte> bytes;  // of strings, messages and packed numbers
};

class WireReader {
 public:
  /// `where` begins every message and outlives the reader. Throws BadFile in all members.
  WireReader(std::span<const std::byte> bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  /// False at the end.
  bool next(WireField& field);

 private:
  std::uint64_t varint();
  std::span<const std::byte> take(std::uint64_t count);

  std::span<const std::byte> bytes_;
  const std::string& where_;
  std::size_t position_ = 0;
};

/// Throw BadFile where the field is of another wire type, or a text is longer than names are (4096 bytes).
std::string text_of(const WireField& field, const std::string& where);
std::int64_t integer_of(const WireField& field, const std::string& where);
float float_of(const WireField& field, const std::string& where);
std::span<const std::byte> bytes_of(const WireField& field, const std::string& where);
/// Appends one number, or a packed run of them.
void append_integers(const WireField& field, const std::string& where, std::vector<std::int64_t>& to);
void append_floats(const WireField& field, const std::string& where, std::vector<float>& to);
void append_doubles(const WireField& field, const std::string& where, std::vector<double>& to);

/// What ends the message about a file whose parts are missing or wrong.
inline constexpr const char* kDamagedModel =
    "the file is damaged or no ONNX model; export or download it again";

}  // namespace wan::onnx
