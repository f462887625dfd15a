#include "backends/cpu/kernels/parts.h"
#include "backends/cpu/kernels/vec.h"

namespace wan::WAN_ISA_NAMESPACE {

namespace {

/// out[i] = f(i-th vectors of the inputs), the last one in part.
template <typename F, typename... Inputs>
WAN_INLINE void map(float* out, std::int64_t n, F f, Inputs... inputs) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, f(load(inputs + i)...));
  if (i < n) store_part(out + i, f(load_part(inputs + i, n - i)...), n - i);
}

void map_silu(const float* x, float* out, std::int64_t n) {
  map(
      out, n, [](Vec a) { return silu(a); }, x);
}

void map_gelu_tanh(const float* x, float* out, std::int64_t n) {
  map(
      out, n, [](Vec a) { return gelu_tanh(a); }, x);
}

void map_gelu(const float* x, float* out, std::int64_t n) {
  map(
      out, n, [](Vec a) { return gelu(a); }, x);
}

void map_leaky_relu(const float* x, float* out, std::int64_t n) {
  map(
      out, n, [](Vec a) { return larger(a, 0.2f * a); }, x);
}

void map_relu(const float* x, float* out, std::int64_t n) {
  map(
      out, n, [](Vec a) { return larger(Vec{}, a); }, x);
}

void map_exponential(const float* x, float* out, std::int64_t n) {
  map(
      out, n, [](Vec a) { return exponential(a); }, x);
}

void map_gated_gelu(const float* gate, const float* x, float* out, std::int64_t n) {
  map(
      out, n, [](Vec g, Vec a) { return gelu_tanh(g) * a; }, gate, x);
}

void map_gated_silu(const float* gate, const float* x, float* out, std::int64_t n) {
  map(
      out, n, [](Vec g, Vec a) { return silu(g) * a; }, gate, x);
}

void map_add(float* x, const float* y, std::int64_t n) {
  map(
      x, n, [](Vec a, Vec b) { return a + b; }, const_cast<const float*>(x), y);
}

void map_add_gated(float* x, const float* y, const float* gate, std::int64_t n) {
  map(
      x, n, [](Vec a, Vec b, Vec g) { return a + b * g; }, const_cast<const float*>(x), y, gate);
}

template <int Count>
void combine_fixed(const float* const* terms, const float* coefficients, float* out, std::int64_t n) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Vec total = load(terms[0] + i) * coefficients[0];
    for (int t = 1; t < Count; ++t) total += load(terms[t] + i) * coefficients[t];
    store(out + i, total);
  }
  if (i == n) return;
  Vec total = load_part(terms[0] + i, n - i) * coefficients[0];
  for (int t = 1; t < Count; ++t) total += load_part(terms[t] + i, n - i) * coefficients[t];
  store_part(out + i, total, n - i);
}

void combine(const float* const* terms, const float* coefficients, int count, float* out, std::int64_t n) {
  using Combine = void (*)(const float* const*, const float*, float*, std::int64_t);
  constexpr Combine kByCount[] = {combine_fixed<1>, combine_fixed<2>, combine_fixed<3>, combine_fixed<4>,
                                  combine_fixed<5>, combine_fixed<6>, combine_fixed<7>, combine_fixed<8>};
  kByCount[count - 1](terms, coefficients, out, n);
}

// The loops below are plain: the compiler vectorises them.

std::int64_t non_finite_f32(const std::uint32_t* x, std::int64_t n) {
  constexpr std::uint32_t kExponent = 0x7f800000u;
  std::int64_t count = 0;
  constexpr std::int64_t kBlock = 1 << 16;  // counts of a block fit in 32 bits
  for (std::int64_t begin = 0; begin < n; begin += kBlock) {
    const std::int64_t end = begin + kBlock < n ? begin + kBlock : n;
    std::uint32_t found = 0;
    for (std::int64_t i = begin; i < end; ++i) found += (x[i] & kExponent) == kExponent ? 1u : 0u;
    count += found;
  }
  return count;
}

std::int64_t non_finite_bf16(const std::uint16_t* x, std::int64_t n) {
  constexpr std::uint32_t kExponent = 0x7f80u;
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < n; ++i) count += (x[i] & kExponent) == kExponent ? 1 : 0;
  return count;
}

WAN_INLINE std::uint32_t bits_of(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

WAN_INLINE float from_bits(std::uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

/// The upper half that x rounds to.
WAN_INLINE std::uint32_t rounded(std::uint32_t bits) {
  const std::uint32_t nearest = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const std::uint32_t nan = (bits >> 16) | 0x40u;
  return (bits & 0x7fffffffu) > 0x7f800000u ? nan : nearest;
}

void bf16_to_f32(const std::uint16_t* x, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = from_bits(static_cast<std::uint32_t>(x[i]) << 16);
}

void f32_to_bf16(const float* x, std::uint16_t* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = static_cast<std::uint16_t>(rounded(bits_of(x[i])));
}

void round_to_bf16(const float* x, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = from_bits(rounded(bits_of(x[i])) << 16);
}

}  // namespace

void add_elementwise(CpuKernels& table) {
  table.silu = map_silu;
  table.gelu_tanh = map_gelu_tanh;
  table.gelu = map_gelu;
  table.leaky_relu = map_leaky_relu;
  table.relu = map_relu;
  table.gated_gelu = map_gated_gelu;
  table.gated_silu = map_gated_silu;
  table.add = map_add;
  table.add_gated = map_add_gated;
  table.combine = combine;
  table.exponential = map_exponential;
  table.non_finite_f32 = non_finite_f32;
  table.non_finite_bf16 = non_finite_bf16;
  table.bf16_to_f32 = bf16_to_f32;
  table.f32_to_bf16 = f32_to_bf16;
  table.round_to_bf16 = round_to_bf16;
}

}  // namespace wan::WAN_ISA_NAMESPACE
