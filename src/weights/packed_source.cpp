#include "weights/packed_source.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "tensor/unpack.h"

namespace wan {

namespace {

constexpr std::size_t kScaleBytes = sizeof(float);

/// Formats with a scale before each block's codes, those with the largest blocks first.
std::array<DType, 2> scaled_formats(DType codes) {
  if (codes == DType::kF8E4M3) return {DType::kF8E4M3Scaled128, DType::kF8E4M3Scaled64};
  if (codes == DType::kF8E5M2) return {DType::kF8E5M2Scaled128, DType::kF8E5M2Scaled64};
  return {DType::kI8Scaled128, DType::kI8Scaled64};
}

/// A tensor of more dimensions is a matrix of its first one's rows.
std::int64_t columns_of(const TensorEntry& entry) {
  return entry.elements() / entry.shape[0];
}

float scale_at(const TensorEntry& entry, std::int64_t row, std::int64_t column) {
  const CodeScales& scales = *entry.scales;
  const std::int64_t width = (columns_of(entry) + scales.columns - 1) / scales.columns;
  return scales.values[static_cast<std::size_t>(row / scales.rows * width + column / scales.columns)];
}

/// `count` codes from `first` on, which have one scale.
void read_codes(const TensorEntry& entry, std::int64_t first, std::int64_t count, float scale, float* out) {
  const std::byte* codes = entry.storage.data() + first;
  if (entry.dtype == DType::kI8) {
    for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(static_cast<std::int8_t>(codes[i]));
  } else {
    unpack_values(entry.dtype, codes, count, out);
  }
  for (std::int64_t i = 0; i < count; ++i) out[i] *= scale;
}

}  // namespace

std::optional<DType> packed_dtype_of(const TensorEntry& entry) {
  if (entry.change != nullptr && entry.change->factors() == nullptr)
    return std::nullopt;  // made of what it is unpacked to
  if (entry.shape.rank() != 2 || !entry.is_weight() || is_floating(entry.dtype) ||
      !entry.view().is_contiguous())
    return std::nullopt;
  const std::int64_t columns = entry.shape[1];
  if (entry.scales == nullptr)
    return fits_rows(entry.dtype, columns) ? std::optional(entry.dtype) : std::nullopt;
  if (entry.scales->rotated) return DType::kI8Rotated256;
  for (const DType packed : scaled_formats(entry.dtype)) {
    const auto block = static_cast<std::int64_t>(values_per_block(packed));
    const bool one_scale = entry.scales->columns >= columns || entry.scales->columns % block == 0;
    if (one_scale && fits_rows(packed, columns)) return packed;
  }
  return std::nullopt;
}

void read_packed(const TensorEntry& entry, DType packed, std::size_t first, std::size_t count,
                 std::byte* out) {
  if (entry.scales == nullptr) {
    WAN_ASSERT(entry.dtype == packed);
    if (count > 0) std::memcpy(out, entry.storage.data() + first, count);
    return;
  }
  const std::size_t codes = values_per_block(packed);
  const std::size_t bytes = bytes_per_block(packed);
  const auto columns = static_cast<std::size_t>(entry.shape[1]);
  const std::size_t end = first + count;
  for (std::size_t block = first / bytes; block * bytes < end; ++block) {
    const std::size_t at = block * codes;
    const float scale =
        scale_at(entry, static_cast<std::int64_t>(at / columns), static_cast<std::int64_t>(at % columns));
    // Its bytes are the scale's and then the codes'; of either a part may lie outside.
    const std::size_t begin = block * bytes;
    const std::size_t from = std::max(first, begin) - begin;
    const std::size_t to = std::min(end, begin + bytes) - begin;
    if (from < kScaleBytes)
      std::memcpy(out + begin + from - first, reinterpret_cast<const std::byte*>(&scale) + from,
                  std::min(to, kScaleBytes) - from);
    const std::size_t codes_from = std::max(from, kScaleBytes);
    if (codes_from < to)
      std::memcpy(out + begin + codes_from - first, entry.storage.data() + at + codes_from - kScaleBytes,
                  to - codes_from);
  }
}

std::span<const std::byte> packed_storage(const TensorEntry& entry, DType packed, std::size_t first,
                                          std::size_t count) {
  if (entry.scales == nullptr) return entry.storage.subspan(first, count);
  const std::size_t codes = values_per_block(packed);
  const std::size_t bytes = bytes_per_block(packed);
  const std::size_t begin = first / bytes * codes;
  return entry.storage.subspan(begin, (first + count + bytes - 1) / bytes * codes - begin);
}

void read_values(const TensorEntry& entry, std::int64_t first, std::int64_t count, float* out) {
  if (entry.scales == nullptr) {
    const std::size_t offset = dtype_bytes(entry.dtype, first);
    unpack_values(entry.dtype, entry.storage.data() + offset, count, out);
    return;
  }
  const std::int64_t columns = columns_of(entry);
  for (std::int64_t end = first + count; first < end;) {
    const std::int64_t row = first / columns;
    const std::int64_t column = first % columns;
    const float scale = scale_at(entry, row, column);
    std::int64_t run =
        std::min({end - first, columns - column, entry.scales->columns - column % entry.scales->columns});
    if (entry.scales->rotated) {
      using Rotated = formats::I8Rotated256;
      std::array<std::uint8_t, Rotated::kBytes> block;
      std::memcpy(block.data(), &scale, kScaleBytes);
      std::memcpy(block.data() + kScaleBytes, entry.storage.data() + first, Rotated::kValues);
      Rotated::unpack(block.data(), out);
      run = Rotated::kValues;
    } else {
      read_codes(entry, first, run, scale, out);
    }
    first += run;
    out += run;
  }
}

}  // namespace wan
