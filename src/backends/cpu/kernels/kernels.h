#pragma once
// Vector kernels: one source, compiled once an instruction set, chosen when the program starts.
//
// Everything here is serial and works on raw pointers; the op's .cpp file divides the work over threads. The
// sources of this folder include no header with inline functions of other parts (but formats', which are never called): such a function, compiled for
// AVX-512, could be the copy that the linker keeps for the whole program.

#include <cstdint>

#include "tensor/formats/all_formats.h"

namespace wan {

/// The `rows` queries from q on against all keys, one head. More than one query_tile of them share each block of
/// keys and values while it is in the cache.
struct AttentionTile {
  const float* q;  // rows of D, q_stride apart
  const float* k;
  const float* v;
  float* out;
  float* log_sums;        // [rows] or nullptr
  const float* bias;      // [rows, keys], bias_stride apart, or nullptr
  const float* key_bias;  // [keys] or nullptr
  float* scratch;         // attention_scratch(D, rows) floats, 64-byte aligned
  std::int64_t q_stride, k_stride, v_stride, out_stride, bias_stride;
  std::int64_t rows;
  std::int64_t keys;
  std::int64_t
      visible;  // of the keys, how many the first query sees, each further one one more; 0: all see all
  std::int64_t width;  // D
  float scale;
};

struct CpuKernels {
  const char* name;
  int lanes;  // floats in a vector

  // Element-wise over n values; out may be any of the inputs.
  void (*silu)(const float* x, float* out, std::int64_t n);
  void (*gelu_tanh)(const float* x, float* out, std::int64_t n);
  void (*gelu)(const float* x, float* out, std::int64_t n);
  void (*leaky_relu)(const float* x, float* out, std::int64_t n);
  void (*relu)(const float* x, float* out, std::int64_t n);
  void (*gated_gelu)(const float* gate, const float* x, float* out, std::int64_t n);
  void (*gated_silu)(const float* gate, const float* x, float* out, std::int64_t n);
  void (*add)(float* x, const float* y, std::int64_t n);                           // x += y
  void (*add_gated)(float* x, const float* y, const float* gate, std::int64_t n);  // x += y * gate
  void (*combine)(const float* const* terms, const float* coefficients, int count, float* out,
                  std::int64_t n);
  void (*exponential)(const float* x, float* out, std::int64_t n);  // x <= 88; for the accuracy test
  std::int64_t (*non_finite_f32)(const std::uint32_t* x, std::int64_t n);
  std::int64_t (*non_finite_bf16)(const std::uint16_t* x, std::int64_t n);

  // bf16, rounded to nearest even; NaN stays NaN.
  void (*bf16_to_f32)(const std::uint16_t* x, float* out, std::int64_t n);
  void (*f32_to_bf16)(const float* x, std::uint16_t* out, std::int64_t n);
  void (*round_to_bf16)(const float* x, float* out, std::int64_t n);

  // One row of n values.
  // out = (x - mean) / sqrt(variance + eps), then * (offset + scale) + shift where scale is given.
  void (*layer_norm)(const float* x, const float* scale, float offset, const float* shift, float eps,
                     float* out, std::int64_t n);
  // out = x * factor * weight, factor = 1 / sqrt(mean(x^2) + eps).
  void (*rms_norm)(const float* x, const float* weight, float eps, float* out, std::int64_t n);
  // The same, then rotation of each pair of a head by table [head_width / 2, 2] (cosine, sine).
  void (*rms_norm_rope)(const float* x, const float* weight, float eps, const float* table, float* out,
                        std::int64_t heads, std::int64_t head_width);
  // Rows of n values, strides apart: out = silu?(x / max(|x|, 1e-12) * sqrt(n) * gamma)
  void (*channel_norm)(const float* x, std::int64_t x_stride, const float* gamma, float* out,
                       std::int64_t out_stride, std::int64_t rows, std::int64_t n);
  void (*channel_norm_silu)(const float* x, std::int64_t x_stride, const float* gamma, float* out,
                            std::int64_t out_stride, std::int64_t rows, std::int64_t n);

  int query_tile;  // queries that attention handles at a time: rows are best a multiple of it
  std::int64_t (*attention_scratch)(std::int64_t width, std::int64_t rows);
  void (*attention)(const AttentionTile& tile);

  // Sum of x[k] * w[n, k] for rows of w, K apart; out[n] for n in [0, rows).
  void (*dot_rows)(const float* x, const float* w, float* out, std::int64_t rows, std::int64_t width);
  void (*dot_rows_bf16)(const float* x, const std::uint16_t* w, float* out, std::int64_t rows,
                        std::int64_t width);

  // By format_index(): the values of so many blocks; of those with one value, a multiple of formats::kRunValues.
  void (*unpack[formats::All::kCount])(const std::uint8_t* blocks, float* out, std::int64_t count);
};

/// The best table for this processor. The environment variable WAN_CPU_ISA (baseline, avx2, avx512) asks for a
/// lesser one.
const CpuKernels& cpu_kernels();
/// All tables that this processor can run, the best one last.
int supported_cpu_kernels(const CpuKernels** tables, int capacity);

}  // namespace wan
