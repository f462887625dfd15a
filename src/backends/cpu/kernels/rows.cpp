#include "backends/cpu/kernels/parts.h"
#include "backends/cpu/kernels/vec.h"

namespace wan::WAN_ISA_NAMESPACE {

namespace {

/// Sum over f(vector) of a row. f(0) must be 0: the last vector is filled up with zeros.
template <typename F>
WAN_INLINE float reduce(const float* x, std::int64_t n, F f) {
  Vec a = {};
  Vec b = {};
  std::int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    a += f(load(x + i));
    b += f(load(x + i + kLanes));
  }
  if (i + kLanes <= n) {
    a += f(load(x + i));
    i += kLanes;
  }
  if (i < n) b += f(load_part(x + i, n - i));
  return sum(a + b);
}

/// f(index, vector loads at it, vector stores at it) for whole vectors, then for the rest of the row.
template <typename F>
WAN_INLINE void for_row(std::int64_t n, F f) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    f(
        i, [](const float* p) { return load(p); }, [](float* p, Vec v) { store(p, v); });
  const std::int64_t rest = n - i;
  if (rest > 0)
    f(
        i, [rest](const float* p) { return load_part(p, rest); },
        [rest](float* p, Vec v) { store_part(p, v, rest); });
}

WAN_INLINE float squares(const float* x, std::int64_t n) {
  return reduce(x, n, [](Vec v) { return v * v; });
}

void layer_norm(const float* x, const float* scale, float offset, const float* shift, float eps, float* out,
                std::int64_t n) {
  const float mean = reduce(x, n, [](Vec v) { return v; }) / static_cast<float>(n);
  // Whole vectors, then the rest one by one: zeros that fill up a vector would count as mean^2 each.
  const std::int64_t whole = n - n % kLanes;
  float squared = reduce(x, whole, [mean](Vec v) { return (v - mean) * (v - mean); });
  for (std::int64_t i = whole; i < n; ++i) squared += (x[i] - mean) * (x[i] - mean);
  const float factor = 1.0f / __builtin_sqrtf(squared / static_cast<float>(n) + eps);
  if (scale == nullptr) {
    for_row(n, [=](std::int64_t i, auto get, auto put) { put(out + i, (get(x + i) - mean) * factor); });
  } else {
    for_row(n, [=](std::int64_t i, auto get, auto put) {
      put(out + i, (get(x + i) - mean) * factor * (offset + get(scale + i)) + get(shift + i));
    });
  }
}

float rms_factor(const float* x, float eps, std::int64_t n) {
  return 1.0f / __builtin_sqrtf(squares(x, n) / static_cast<float>(n) + eps);
}

void rms_norm(const float* x, const float* weight, float eps, float* out, std::int64_t n) {
  const float factor = rms_factor(x, eps, n);
  for_row(n,
          [=](std::int64_t i, auto get, auto put) { put(out + i, get(x + i) * factor * get(weight + i)); });
}

#if WAN_VECTOR_BYTES == 64
#define WAN_SHUFFLE_PAIRS(v, a, b)                                                                       \
  __builtin_shufflevector(v, v, (a), (b), (a) + 2, (b) + 2, (a) + 4, (b) + 4, (a) + 6, (b) + 6, (a) + 8, \
                          (b) + 8, (a) + 10, (b) + 10, (a) + 12, (b) + 12, (a) + 14, (b) + 14)
#elif WAN_VECTOR_BYTES == 32
#define WAN_SHUFFLE_PAIRS(v, a, b) \
  __builtin_shufflevector(v, v, (a), (b), (a) + 2, (b) + 2, (a) + 4, (b) + 4, (a) + 6, (b) + 6)
#else
#define WAN_SHUFFLE_PAIRS(v, a, b) __builtin_shufflevector(v, v, (a), (b), (a) + 2, (b) + 2)
#endif

/// Pairs (e, o) with (c, s) to (e c - o s, e s + o c).
WAN_INLINE Vec rotate(Vec n, Vec cosine_sine) {
  const Vec cosine = WAN_SHUFFLE_PAIRS(cosine_sine, 0, 0);
  const Vec sine = WAN_SHUFFLE_PAIRS(cosine_sine, 1, 1);
  const Vec swapped = WAN_SHUFFLE_PAIRS(n, 1, 0);
  constexpr std::uint32_t kMinus = 0x80000000u;
  VecBits signs = {};
  for (int i = 0; i < kLanes; i += 2) signs[i] = kMinus;
  return n * cosine + as_float(as_bits(swapped * sine) ^ signs);
}

void rms_norm_rope(const float* x, const float* weight, float eps, const float* table, float* out,
                   std::int64_t heads, std::int64_t head_width) {
  const float factor = rms_factor(x, eps, heads * head_width);
  for (std::int64_t h = 0; h < heads; ++h) {
    const float* head = x + h * head_width;
    const float* gain = weight + h * head_width;
    float* to = out + h * head_width;
    for_row(head_width, [=](std::int64_t i, auto get, auto put) {
      put(to + i, rotate(get(head + i) * factor * get(gain + i), get(table + i)));
    });
  }
}

/// Vectors: how many whole ones a row has, so that short rows need no loop; 0: any length.
template <int Vectors, typename Activation>
WAN_INLINE void channel_norm_rows(const float* x, std::int64_t x_stride, const float* gamma, float* out,
                                  std::int64_t out_stride, std::int64_t rows, std::int64_t n,
                                  Activation activation) {
  if constexpr (Vectors > 0) n = Vectors * kLanes;
  const float root = __builtin_sqrtf(static_cast<float>(n));
  for (std::int64_t r = 0; r < rows; ++r, x += x_stride, out += out_stride) {
    const float length = __builtin_sqrtf(squares(x, n));
    const float factor = root / (length < 1e-12f ? 1e-12f : length);
    for_row(n, [=](std::int64_t i, auto get, auto put) {
      put(out + i, activation(get(x + i) * factor * get(gamma + i)));
    });
  }
}

template <typename Activation>
WAN_INLINE void channel_norm_any(const float* x, std::int64_t x_stride, const float* gamma, float* out,
                                 std::int64_t out_stride, std::int64_t rows, std::int64_t n,
                                 Activation activation) {
  switch (n) {
    case kLanes:
      return channel_norm_rows<1>(x, x_stride, gamma, out, out_stride, rows, n, activation);
    case 2 * kLanes:
      return channel_norm_rows<2>(x, x_stride, gamma, out, out_stride, rows, n, activation);
    case 4 * kLanes:
      return channel_norm_rows<4>(x, x_stride, gamma, out, out_stride, rows, n, activation);
    default:
      return channel_norm_rows<0>(x, x_stride, gamma, out, out_stride, rows, n, activation);
  }
}

void channel_norm(const float* x, std::int64_t x_stride, const float* gamma, float* out,
                  std::int64_t out_stride, std::int64_t rows, std::int64_t n) {
  channel_norm_any(x, x_stride, gamma, out, out_stride, rows, n, [](Vec v) { return v; });
}

void channel_norm_silu(const float* x, std::int64_t x_stride, const float* gamma, float* out,
                       std::int64_t out_stride, std::int64_t rows, std::int64_t n) {
  channel_norm_any(x, x_stride, gamma, out, out_stride, rows, n, [](Vec v) { return silu(v); });
}

void dot_rows(const float* x, const float* w, float* out, std::int64_t rows, std::int64_t width) {
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* row = w + r * width;
    Vec totals[4] = {};
    std::int64_t k = 0;
    for (; k + 4 * kLanes <= width; k += 4 * kLanes)
      for (int u = 0; u < 4; ++u) totals[u] += load(x + k + u * kLanes) * load(row + k + u * kLanes);
    for (; k + kLanes <= width; k += kLanes) totals[0] += load(x + k) * load(row + k);
    if (k < width) totals[1] += load_part(x + k, width - k) * load_part(row + k, width - k);
    out[r] = sum((totals[0] + totals[1]) + (totals[2] + totals[3]));
  }
}

void dot_rows_bf16(const float* x, const std::uint16_t* w, float* out, std::int64_t rows,
                   std::int64_t width) {
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::uint16_t* row = w + r * width;
    Vec totals[4] = {};
    std::int64_t k = 0;
    for (; k + 4 * kLanes <= width; k += 4 * kLanes)
      for (int u = 0; u < 4; ++u) totals[u] += load(x + k + u * kLanes) * load_bf16(row + k + u * kLanes);
    for (; k + kLanes <= width; k += kLanes) totals[0] += load(x + k) * load_bf16(row + k);
    if (k < width) {
      std::uint16_t rest[kLanes] = {};
      std::memcpy(rest, row + k, static_cast<std::size_t>(width - k) * sizeof(std::uint16_t));
      totals[1] += load_part(x + k, width - k) * load_bf16(rest);
    }
    out[r] = sum((totals[0] + totals[1]) + (totals[2] + totals[3]));
  }
}

}  // namespace

void add_rows(CpuKernels& table) {
  table.layer_norm = layer_norm;
  table.rms_norm = rms_norm;
  table.rms_norm_rope = rms_norm_rope;
  table.channel_norm = channel_norm;
  table.channel_norm_silu = channel_norm_silu;
  table.dot_rows = dot_rows;
  table.dot_rows_bf16 = dot_rows_bf16;
}

}  // namespace wan::WAN_ISA_NAMESPACE
