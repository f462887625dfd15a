#include "tokenizers/protobuf_reader.h"

#include <bit>

#include "base/error.h"

namespace wan {

bool ProtobufReader::next() {
  if (bytes_.empty()) return false;
  const std::uint64_t key = read_varint();
  field_ = key >> 3;
  if (field_ == 0) fail_malformed("a field of number 0");
  payload_ = {};
  switch (key & 7) {
    case 0:
      wire_ = Wire::kVarint;
      number_ = read_varint();
      break;
    case 1:
      wire_ = Wire::kFixed64;
      payload_ = take(8);
      break;
    case 2:
      wire_ = Wire::kBytes;
      payload_ = take(read_varint());
      break;
    case 5:
      wire_ = Wire::kFixed32;
      payload_ = take(4);
      break;
    default:
      fail_malformed("a field of an unknown kind");
  }
  return true;
}

std::uint64_t ProtobufReader::varint() const {
  require(Wire::kVarint, "a number");
  return number_;
}

float ProtobufReader::float32() const {
  require(Wire::kFixed32, "a float");
  std::uint32_t bits = 0;
  for (int i = 0; i < 4; ++i)
    bits |= static_cast<std::uint32_t>(static_cast<unsigned char>(payload_[i])) << (8 * i);
  return std::bit_cast<float>(bits);
}

std::string_view ProtobufReader::bytes() const {
  require(Wire::kBytes, "bytes");
  return payload_;
}

std::uint64_t ProtobufReader::read_varint() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const auto byte = static_cast<unsigned char>(take(1).front());
    value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  fail_malformed("a number of more than ten bytes");
}

std::string_view ProtobufReader::take(std::uint64_t count) {
  if (count > bytes_.size()) fail_malformed("an end inside a field");
  const std::string_view taken = bytes_.substr(0, count);
  bytes_.remove_prefix(count);
  return taken;
}

void ProtobufReader::require(Wire wire, const char* kind) const {
  WAN_CHECK(wire_ == wire, kBadFile, "[{}] expected {} in field {}, got wire type {}; replace the file",
            place_, kind, field_, static_cast<int>(wire_));
}

void ProtobufReader::fail_malformed(const char* what) const {
  fail(ErrorCode::kBadFile, "[{}] expected a protocol buffer, got {}; replace the file", place_, what);
}

}  // namespace wan
