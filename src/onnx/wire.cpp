#include "onnx/wire.h"

#include <bit>
#include <cstring>

#include "base/error.h"

namespace wan::onnx {

namespace {

constexpr std::size_t kLongestText = 4096;

template <typename T>
T number_of(std::span<const std::byte> bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

template <typename T>
void append_packed(std::span<const std::byte> bytes, const std::string& where, std::vector<T>& to) {
  WAN_CHECK(bytes.size() % sizeof(T) == 0, kBadFile, "[{}] expected whole numbers in {} bytes: {}", where,
            bytes.size(), kDamagedModel);
  const std::size_t before = to.size();
  to.resize(before + bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(to.data() + before, bytes.data(), bytes.size());
}

[[noreturn]] void fail_type(const WireField& field, const std::string& where) {
  fail(ErrorCode::kBadFile, "[{}] field {} is of an unexpected wire type {}: {}", where, field.number,
       static_cast<int>(field.type), kDamagedModel);
}

}  // namespace

std::uint64_t WireReader::varint() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const auto byte = static_cast<std::uint64_t>(take(1)[0]);
    value |= (byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  fail(ErrorCode::kBadFile, "[{}] a number at byte {} is longer than 10 bytes: {}", where_, position_,
       kDamagedModel);
}

std::span<const std::byte> WireReader::take(std::uint64_t count) {
  const std::size_t left = bytes_.size() - position_;
  WAN_CHECK(count <= left, kBadFile, "[{}] expected {} more bytes at {}, got {}: {}", where_, count,
            position_, left, kDamagedModel);
  const auto taken = bytes_.subspan(position_, static_cast<std::size_t>(count));
  position_ += static_cast<std::size_t>(count);
  return taken;
}

bool WireReader::next(WireField& field) {
  if (position_ == bytes_.size()) return false;
  const std::uint64_t key = varint();
  WAN_CHECK(key >> 3 != 0 && key >> 3 <= 0x1fffffff, kBadFile, "[{}] {} is no number of a field: {}", where_,
            key >> 3, kDamagedModel);
  field = {};
  field.number = static_cast<std::uint32_t>(key >> 3);
  switch (key & 7) {
    case 0:
      field.type = WireField::Type::kVarint;
      field.value = varint();
      return true;
    case 1:
      field.type = WireField::Type::kFixed64;
      field.value = number_of<std::uint64_t>(take(8));
      return true;
    case 2:
      field.type = WireField::Type::kBytes;
      field.bytes = take(varint());
      return true;
    case 5:
      field.type = WireField::Type::kFixed32;
      field.value = number_of<std::uint32_t>(take(4));
      return true;
    default:
      fail(ErrorCode::kBadFile, "[{}] {} is no wire type: {}", where_, key & 7, kDamagedModel);
  }
}

std::span<const std::byte> bytes_of(const WireField& field, const std::string& where) {
  if (field.type != WireField::Type::kBytes) fail_type(field, where);
  return field.bytes;
}

std::string text_of(const WireField& field, const std::string& where) {
  const auto bytes = bytes_of(field, where);
  WAN_CHECK(bytes.size() <= kLongestText, kBadFile, "[{}] a name of {} bytes, {} at most: {}", where,
            bytes.size(), kLongestText, kDamagedModel);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::int64_t integer_of(const WireField& field, const std::string& where) {
  if (field.type != WireField::Type::kVarint) fail_type(field, where);
  return std::bit_cast<std::int64_t>(field.value);
}

float float_of(const WireField& field, const std::string& where) {
  if (field.type != WireField::Type::kFixed32) fail_type(field, where);
  return std::bit_cast<float>(static_cast<std::uint32_t>(field.value));
}

void append_integers(const WireField& field, const std::string& where, std::vector<std::int64_t>& to) {
  if (field.type == WireField::Type::kVarint) return to.push_back(std::bit_cast<std::int64_t>(field.value));
  // A packed run is varints alone: read as the keys of a message would be, one after the other.
  const auto bytes = bytes_of(field, where);
  std::uint64_t value = 0;
  int shift = 0;
  for (const std::byte b : bytes) {
    WAN_CHECK(shift < 64, kBadFile, "[{}] a number is longer than 10 bytes: {}", where, kDamagedModel);
    value |= (static_cast<std::uint64_t>(b) & 0x7f) << shift;
    shift += 7;
    if ((static_cast<unsigned>(b) & 0x80u) != 0) continue;
    to.push_back(std::bit_cast<std::int64_t>(value));
    value = 0;
    shift = 0;
  }
  WAN_CHECK(shift == 0, kBadFile, "[{}] a packed run ends within a number: {}", where, kDamagedModel);
}

void append_floats(const WireField& field, const std::string& where, std::vector<float>& to) {
  if (field.type == WireField::Type::kFixed32) return to.push_back(float_of(field, where));
  append_packed(bytes_of(field, where), where, to);
}

void append_doubles(const WireField& field, const std::string& where, std::vector<double>& to) {
  if (field.type == WireField::Type::kFixed64) return to.push_back(std::bit_cast<double>(field.value));
  append_packed(bytes_of(field, where), where, to);
}

}  // namespace wan::onnx
