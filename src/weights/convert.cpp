#include "weights/convert.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "tensor/unpack.h"
#include "weights/packed_source.h"

namespace wan {

namespace {

// Below this, starting threads costs more than the copy.
constexpr std::int64_t kParallelElements = 1 << 18;
constexpr std::int64_t kChunk = 1 << 16;

// The same values as to_float(F16), to_f16() and to_bf16(), without branches, so that the loops below vectorise:
// selections by mask, and comparisons of magnitudes below 2^31, for which signed ones do (SSE2 has no others).
inline std::uint32_t mask_less(std::uint32_t a, std::uint32_t b) {
  return 0u - static_cast<std::uint32_t>(static_cast<std::int32_t>(a) < static_cast<std::int32_t>(b));
}

inline std::uint32_t select(std::uint32_t mask, std::uint32_t where_set, std::uint32_t elsewhere) {
  return (where_set & mask) | (elsewhere & ~mask);
}

inline float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = (static_cast<std::uint32_t>(half) & 0x8000u) << 16;
  const std::uint32_t magnitude = (static_cast<std::uint32_t>(half) & 0x7fffu) << 13;
  const std::uint32_t normal = magnitude + (112u << 23);
  const auto subnormal =
      std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude + (113u << 23)) - 0x1p-14f);
  const std::uint32_t finite = select(mask_less(magnitude, 1u << 23), subnormal, normal);
  const std::uint32_t special = magnitude | 0x7f800000u;
  return std::bit_cast<float>(sign | select(mask_less(magnitude, 31u << 23), finite, special));
}

inline std::uint16_t float_to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  const std::uint32_t is_small = mask_less(magnitude, 113u << 23);
  const std::uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  // Adding 0.5 moves a subnormal half's bits to the end of the mantissa and rounds them there.
  const auto subnormal =
      std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude & is_small) + 0.5f) - 0x3f000000u;
  const std::uint32_t overflow = 0x7c00u | (mask_less(0x7f800000u, magnitude) & 0x200u);
  const std::uint32_t finite = select(is_small, subnormal, normal);
  return static_cast<std::uint16_t>(sign | select(mask_less(magnitude, 0x477ff000u), finite, overflow));
}

inline std::uint16_t float_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t is_nan = mask_less(0x7f800000u, bits & 0x7fffffffu);
  const std::uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  return static_cast<std::uint16_t>(select(is_nan, bits | 0x400000u, rounded) >> 16);
}

// Elements are read with memcpy: a mapped file need not be aligned.
template <typename Source>
inline float read_float(const std::byte* data) {
  if constexpr (std::is_same_v<Source, F16> || std::is_same_v<Source, BF16>) {
    std::uint16_t bits;
    std::memcpy(&bits, data, sizeof(bits));
    return std::is_same_v<Source, F16> ? half_to_float(bits) : to_float(BF16{bits});
  } else {
    Source value;
    std::memcpy(&value, data, sizeof(value));
    return static_cast<float>(value);
  }
}

template <typename Target>
inline Target from_float(float value) {
  if constexpr (std::is_same_v<Target, F16>) return {float_to_half(value)};
  if constexpr (std::is_same_v<Target, BF16>) return {float_to_bf16(value)};
  if constexpr (std::is_same_v<Target, float>) return value;
}

// `count` elements, `step` bytes apart in the source, one after the other in the target.
using RunFunction = void (*)(const std::byte* source, std::int64_t step, std::byte* target,
                             std::int64_t count);

template <typename Source, typename Target>
void convert_run(const std::byte* source, std::int64_t step, std::byte* target, std::int64_t count) {
  auto* out = reinterpret_cast<Target*>(target);
  constexpr auto kSize = static_cast<std::int64_t>(sizeof(Source));
  if (step == kSize) {
    for (std::int64_t i = 0; i < count; ++i)
      out[i] = from_float<Target>(read_float<Source>(source + i * kSize));
  } else {
    for (std::int64_t i = 0; i < count; ++i)
      out[i] = from_float<Target>(read_float<Source>(source + i * step));
  }
}

template <std::size_t kSize>
void copy_run(const std::byte* source, std::int64_t step, std::byte* target, std::int64_t count) {
  if (step == static_cast<std::int64_t>(kSize)) {
    std::memcpy(target, source, static_cast<std::size_t>(count) * kSize);
  } else {
    for (std::int64_t i = 0; i < count; ++i)
      std::memcpy(target + i * static_cast<std::int64_t>(kSize), source + i * step, kSize);
  }
}

template <typename Source>
RunFunction run_from(DType target) {
  switch (target) {
    case DType::kF32:
      return convert_run<Source, float>;
    case DType::kF16:
      return convert_run<Source, F16>;
    case DType::kBF16:
      return convert_run<Source, BF16>;
    default:
      return nullptr;
  }
}

RunFunction choose_run(DType source, DType target) {
  if (source == target) {
    switch (dtype_size(source)) {
      case 1:
        return copy_run<1>;
      case 2:
        return copy_run<2>;
      case 4:
        return copy_run<4>;
      default:
        return copy_run<8>;
    }
  }
  switch (source) {
    case DType::kF64:
      return run_from<double>(target);
    case DType::kF32:
      return run_from<float>(target);
    case DType::kF16:
      return run_from<F16>(target);
    case DType::kBF16:
      return run_from<BF16>(target);
    default:
      return nullptr;
  }
}

RunFunction run_for(DType source, DType target) {
  const RunFunction run = choose_run(source, target);
  WAN_CHECK(run != nullptr, kInternal, "[convert] {} does not convert to {}", dtype_name(source),
            dtype_name(target));
  return run;
}

struct Axis {
  std::int64_t extent;
  std::int64_t step;  // bytes in the source
};

// The source's axes, outermost first, with neighbours joined where one continues the other; at least one.
struct Axes {
  std::array<Axis, Shape::kMaxRank> axis{};
  int count = 0;
};

Axes joined_axes(const TensorView& source) {
  const auto size = static_cast<std::int64_t>(dtype_size(source.dtype()));
  Axes axes;
  for (int i = 0; i < source.rank(); ++i) {
    if (source.dim(i) == 1) continue;
    const Axis next{source.dim(i), source.stride(i) * size};
    if (axes.count > 0) {
      Axis& last = axes.axis[static_cast<std::size_t>(axes.count - 1)];
      if (last.step == next.extent * next.step) {
        last = {last.extent * next.extent, next.step};
        continue;
      }
    }
    axes.axis[static_cast<std::size_t>(axes.count++)] = next;
  }
  if (axes.count == 0) axes.axis[static_cast<std::size_t>(axes.count++)] = {1, size};
  return axes;
}

// Offset in the source of the row `row`, counted over all axes but the last.
std::int64_t row_offset(const Axes& axes, std::int64_t row) {
  std::int64_t offset = 0;
  for (int i = axes.count - 2; i >= 0; --i) {
    const Axis& axis = axes.axis[static_cast<std::size_t>(i)];
    offset += row % axis.extent * axis.step;
    row /= axis.extent;
  }
  return offset;
}

/// Values that `read(first, count, values)` gives as f32, in steps that are whole blocks of every format.
template <typename Read>
void convert_read(std::int64_t elements, std::int64_t first, const TensorView& target, const Read& read) {
  constexpr std::int64_t kStep = 1024;
  std::array<float, kStep> values;
  const RunFunction run = run_for(DType::kF32, target.dtype());
  std::byte* out = target.data();
  const std::int64_t end = first + target.elements();
  for (std::int64_t at = first; at < end;) {
    const std::int64_t begin = at / kStep * kStep;
    const std::int64_t step = std::min(kStep, elements - begin);
    read(begin, step, values.data());
    const std::int64_t count = std::min(begin + step, end) - at;
    run(reinterpret_cast<const std::byte*>(values.data() + (at - begin)), sizeof(float), out, count);
    out += count * static_cast<std::int64_t>(dtype_size(target.dtype()));
    at += count;
  }
}

int thread_count(int wanted, std::int64_t elements) {
  if (elements < kParallelElements) return 1;
#ifdef _OPENMP
  return wanted > 0 ? wanted : omp_get_max_threads();
#else
  return wanted > 0 ? wanted : 1;
#endif
}

}  // namespace

void convert_part(const TensorView& source, std::int64_t first, const TensorView& target) {
  WAN_CHECK(target.is_contiguous() && first >= 0 && first <= source.elements() - target.elements(), kInternal,
            "[convert] {} elements from {} on of {} into strides {}: expected a part and a row-major target",
            target.elements(), first, source.shape().to_string(), target.strides().to_string());
  if (is_packed(source.dtype())) {
    WAN_CHECK(source.is_contiguous(), kInternal, "[convert] packed values in strides {}",
              source.strides().to_string());
    return convert_read(
        source.elements(), first, target, [&](std::int64_t begin, std::int64_t count, float* values) {
          unpack_values(source.dtype(), source.data() + dtype_bytes(source.dtype(), begin), count, values);
        });
  }
  const RunFunction run = run_for(source.dtype(), target.dtype());
  const Axes axes = joined_axes(source);
  const Axis inner = axes.axis[static_cast<std::size_t>(axes.count - 1)];
  std::byte* out = target.data();
  const std::int64_t end = first + target.elements();
  for (std::int64_t at = first; at < end;) {
    const std::int64_t begin = at % inner.extent;
    const std::int64_t count = std::min(inner.extent - begin, end - at);
    run(source.data() + row_offset(axes, at / inner.extent) + begin * inner.step, inner.step, out, count);
    out += count * static_cast<std::int64_t>(dtype_size(target.dtype()));
    at += count;
  }
}

void convert_part(const TensorEntry& source, std::int64_t first, const TensorView& target) {
  if (source.scales == nullptr) return convert_part(source.view(), first, target);
  WAN_CHECK(target.is_contiguous() && first >= 0 && first <= source.elements() - target.elements(), kInternal,
            "[convert] {} elements from {} on of {}", target.elements(), first, source.shape.to_string());
  convert_read(source.elements(), first, target, [&](std::int64_t begin, std::int64_t count, float* values) {
    read_values(source, begin, count, values);
  });
}

void convert_changed(const TensorEntry& source, std::int64_t first, const TensorView& target) {
  if (source.change == nullptr) return convert_part(source, first, target);
  std::vector<float> values(static_cast<std::size_t>(target.elements()));
  const TensorView row(reinterpret_cast<std::byte*>(values.data()), DType::kF32, {target.elements()});
  convert_part(source, first, row);
  source.change->apply(source.change_first + first, values);
  convert_part(row, 0, target);
}

void convert(const TensorView& source, const TensorView& target, ConvertOptions options) {
  WAN_CHECK(source.shape() == target.shape() && target.is_contiguous(), kInternal,
            "[convert] {} into {} (strides {}): expected equal shapes and a row-major target",
            source.shape().to_string(), target.shape().to_string(), target.strides().to_string());
  // Nothing may throw out of the loop.
  run_for(is_packed(source.dtype()) ? DType::kF32 : source.dtype(), target.dtype());
  const std::int64_t elements = source.elements();
  const TensorView row = target.reshape({elements});
  [[maybe_unused]] const int threads = thread_count(options.threads, elements);
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) if (threads > 1)
#endif
  for (std::int64_t begin = 0; begin < elements; begin += kChunk)
    convert_part(source, begin, row.slice(0, begin, std::min(begin + kChunk, elements)));
}

void convert(const TensorEntry& source, const TensorView& target, ConvertOptions options) {
  if (source.scales == nullptr) return convert(source.view(), target, options);
  convert_part(source, 0, target);
}

}  // namespace wan
