#pragma once
// The wire format of protocol buffers, read field by field from untrusted bytes.

#include <cstdint>
#include <string>
#include <string_view>

namespace wan {

class ProtobufReader {
 public:
  /// `place` names the message in errors; `bytes` must outlive the reader.
  ProtobufReader(std::string_view bytes, std::string place) : bytes_(bytes), place_(std::move(place)) {}

  /// Goes to the next field; false at the end of the message. Throws BadFile where the bytes are malformed.
  bool next();

  std::uint64_t field() const { return field_; }
  /// The field's value; throws BadFile where it was written as another kind.
  std::uint64_t varint() const;
  float float32() const;
  std::string_view bytes() const;  // of a string, bytes or message field

 private:
  enum class Wire { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

  std::uint64_t read_varint();
  std::string_view take(std::uint64_t count);
  void require(Wire wire, const char* kind) const;
  [[noreturn]] void fail_malformed(const char* what) const;

  std::string_view bytes_;  // what is left
  std::string place_;
  std::uint64_t field_ = 0;
  Wire wire_ = Wire::kVarint;
  std::uint64_t number_ = 0;
  std::string_view payload_;
};

}  // namespace wan
