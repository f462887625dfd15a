#include <fmt/ranges.h>

#include <string>

#include "base/checked_math.h"
#include "media/npy.h"

namespace wan {

namespace {

// Data starts at a multiple of this many bytes, as in files that NumPy writes.
constexpr std::size_t kAlignment = 64;

std::string header_of(NpyType type, std::span<const std::int64_t> shape) {
  // A Python tuple: one element has a comma behind it.
  const std::string tuple = fmt::format("({}{})", fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
  std::string dict =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}", npy_descr(type), tuple);
  // Version 1.0 counts the dictionary in 16 bits; our shapes never need more.
  constexpr std::size_t kPrefix = 10;
  const std::size_t unpadded = kPrefix + dict.size() + 1;
  dict.append((kAlignment - unpadded % kAlignment) % kAlignment, ' ');
  dict += '\n';
  WAN_CHECK(dict.size() <= 0xffff, kInvalidArgument, "[npy] expected fewer dimensions, got {}", shape.size());
  std::string header = {'\x93', 'N', 'U', 'M', 'P', 'Y', '\x01', '\x00'};
  header += static_cast<char>(dict.size() & 0xff);
  header += static_cast<char>(dict.size() >> 8);
  return header + dict;
}

}  // namespace

NpyWriter::NpyWriter(const std::filesystem::path& path, NpyType type, std::span<const std::int64_t> shape)
    : file_(path), type_(type), size_(checked_product(shape, "npy")) {
  checked_mul(size_, static_cast<std::int64_t>(npy_item_size(type)), "npy");
  const std::string header = header_of(type, shape);
  data_offset_ = static_cast<std::int64_t>(header.size());
  file_.write_at(0, std::as_bytes(std::span(header)));
}

void NpyWriter::write_bytes(std::int64_t first, std::span<const std::byte> bytes) {
  const auto item = static_cast<std::int64_t>(npy_item_size(type_));
  const std::int64_t count = static_cast<std::int64_t>(bytes.size()) / item;
  WAN_CHECK(first >= 0 && count <= size_ && first <= size_ - count && written_ <= size_ - count, kInternal,
            "[npy] expected elements within {}, got {} from {} on after {}", size_, count, first, written_);
  file_.write_at(data_offset_ + first * item, bytes);
  next_ = first + count;
  written_ += count;
}

void NpyWriter::finish() {
  WAN_CHECK(written_ == size_, kInternal, "[npy] expected {} elements before the end, got {}", size_,
            written_);
  file_.commit();
}

}  // namespace wan
