#pragma once
// Kernels that move elements: strided copies, rows by index, patches.

#include <cstdint>

#include "backends/cuda/kernels/copy_plan.h"
#include "backends/cuda/kernels/device_math.h"

namespace wan::cuda {

/// Raw elements of 1, 2, 4, 8 or 16 bytes. Index: 32 bits where the counts allow, because division by a run-time number
/// is what this kernel spends its time on.
template <typename T, typename Index>
__global__ void copy_kernel(const T* from, T* out, CopyPlan plan) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= plan.count) return;
  auto rest = static_cast<Index>(thread);
  std::int64_t from_at = 0;
  std::int64_t out_at = 0;
  for (int d = plan.rank - 1; d > 0; --d) {
    const auto extent = static_cast<Index>(plan.extents[d]);
    const Index index = rest % extent;
    rest /= extent;
    from_at += static_cast<std::int64_t>(index) * plan.from_strides[d];
    out_at += static_cast<std::int64_t>(index) * plan.out_strides[d];
  }
  from_at += static_cast<std::int64_t>(rest) * plan.from_strides[0];
  out_at += static_cast<std::int64_t>(rest) * plan.out_strides[0];
  check_address(from + from_at, alignof(T));
  check_address(out + out_at, alignof(T));
  out[out_at] = from[from_at];
}

/// Zeros where a copy of this plan would write.
template <typename T, typename Index>
__global__ void zero_kernel(T* out, CopyPlan plan) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= plan.count) return;
  auto rest = static_cast<Index>(thread);
  std::int64_t out_at = 0;
  for (int d = plan.rank - 1; d > 0; --d) {
    const auto extent = static_cast<Index>(plan.extents[d]);
    out_at += static_cast<std::int64_t>(rest % extent) * plan.out_strides[d];
    rest /= extent;
  }
  out_at += static_cast<std::int64_t>(rest) * plan.out_strides[0];
  check_address(out + out_at, alignof(T));
  out[out_at] = T{};
}

/// A copy with a conversion; a pack is N elements of the last dimension, whose extent counts packs. From f16 or bf16 to
/// the other by way of f32, which holds both.
template <typename From, typename Out, typename Index, int N>
__global__ void convert_kernel(const From* from, Out* out, CopyPlan plan) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= plan.count) return;
  auto rest = static_cast<Index>(thread);
  std::int64_t from_at = 0;
  std::int64_t out_at = 0;
  for (int d = plan.rank - 1; d >= 0; --d) {
    const auto extent = static_cast<Index>(plan.extents[d]);
    const Index index = d > 0 ? rest % extent : rest;
    rest /= extent;
    from_at += static_cast<std::int64_t>(index) * plan.from_strides[d];
    out_at += static_cast<std::int64_t>(index) * plan.out_strides[d];
  }
  float values[N];
  load_pack<N>(from + from_at, values);
  store_pack<N>(out + out_at, values);
}

struct TokenIds {
  static constexpr int kMost = 256;  // 1 KB of the 4 KB that a launch carries
  int ids[kMost];
};

/// A block a row.
template <typename Table, typename Out, int N>
__global__ void embedding_kernel(const Table* table, TokenIds ids, Out* out, std::int64_t width) {
  const Table* from = table + static_cast<std::int64_t>(ids.ids[blockIdx.x]) * width;
  Out* to = out + static_cast<std::int64_t>(blockIdx.x) * width;
  for (std::int64_t c = std::int64_t{threadIdx.x} * N; c < width; c += std::int64_t{blockDim.x} * N) {
    float values[N];
    load_pack<N>(from + c, values);
    store_pack<N>(to + c, values);
  }
}

struct PatchGrid {
  std::int64_t channels, frames, height, width;  // of the latent
  int patch[3];
  std::int64_t first_token;
  std::int64_t token_stride;  // between rows of tokens
  std::int64_t count;         // elements of these tokens
};

/// kToTokens: tokens = latent, channel outermost in a token (patchify). Otherwise latent = tokens, channel innermost
/// (unpatchify). A thread an element, in the order of the tokens.
template <typename Token, bool kToTokens>
__global__ void patch_kernel(float* latent, Token* tokens, PatchGrid grid) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= grid.count) return;
  const std::int64_t volume = static_cast<std::int64_t>(grid.patch[0]) * grid.patch[1] * grid.patch[2];
  const std::int64_t token_width = grid.channels * volume;
  const std::int64_t row = thread / token_width;
  const std::int64_t column = thread % token_width;
  const std::int64_t channel = kToTokens ? column / volume : column % grid.channels;
  const std::int64_t inner = kToTokens ? column % volume : column / grid.channels;
  const std::int64_t d = inner % grid.patch[2];
  const std::int64_t b = inner / grid.patch[2] % grid.patch[1];
  const std::int64_t a = inner / grid.patch[2] / grid.patch[1];
  const std::int64_t rows = grid.height / grid.patch[1];
  const std::int64_t columns = grid.width / grid.patch[2];
  const std::int64_t n = grid.first_token + row;
  const std::int64_t f = n / (rows * columns) * grid.patch[0] + a;
  const std::int64_t y = n / columns % rows * grid.patch[1] + b;
  const std::int64_t x = n % columns * grid.patch[2] + d;
  const std::int64_t at = ((channel * grid.frames + f) * grid.height + y) * grid.width + x;
  Token* token = tokens + row * grid.token_stride + column;
  if constexpr (kToTokens)
    *token = from_f32<Token>(latent[at]);
  else
    latent[at] = to_f32(*token);
}

}  // namespace wan::cuda
