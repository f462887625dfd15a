#pragma once
// How the row kernels are launched: which threads a row gets, and how many rows a block.

#include <type_traits>

#include "backends/cuda/kernels/launch_types.h"
#include "backends/cuda/kernels/row_kernels.h"

namespace wan::cuda {

template <int kValue>
using Constant = std::integral_constant<int, kValue>;

inline constexpr int kWarpRow = 32;
inline constexpr int kBlockRow = 256;
inline constexpr int kWarpRowsABlock = 4;
inline constexpr int kPack = 8;  // elements

/// visit(Constant<threads a row>()): a warp for rows that give each lane a few packs, a block beyond.
template <typename Visit>
void with_row_threads(std::int64_t packs, Visit&& visit) {
  constexpr std::int64_t kMostPacksOfAWarp = 128;
  if (packs <= kMostPacksOfAWarp) return visit(Constant<kWarpRow>());
  visit(Constant<kBlockRow>());
}

template <int kThreads>
LaunchShape row_shape(std::int64_t rows) {
  constexpr int kRows = kThreads == kWarpRow ? kWarpRowsABlock : 1;
  return {dim3(blocks_for(rows, kRows)), dim3(kThreads * kRows)};
}

/// visit(Constant<kPack>()) or visit(Constant<kNarrow>()).
template <int kNarrow, typename Visit>
void with_pack(bool wide, Visit&& visit) {
  if (wide) return visit(Constant<kPack>());
  visit(Constant<kNarrow>());
}

/// Everything at once: visit(x type tag, out type tag, pack constant, threads constant).
template <int kNarrow, typename Visit>
void with_row_kernel(DType x, DType out, bool wide, std::int64_t width, Visit&& visit) {
  with_activation_type(x, [&](auto x_tag) {
    with_activation_type(out, [&](auto out_tag) {
      with_pack<kNarrow>(wide, [&](auto pack) {
        with_row_threads(width / pack(), [&](auto threads) { visit(x_tag, out_tag, pack, threads); });
      });
    });
  });
}

/// Whether a block of threads holds a row of packs, and a warp would have too much of it.
inline bool block_holds(bool packs, std::int64_t width) {
  return packs && width > kPack * kWarpRow * kPacksOfALane && width <= kPack * kHeldThreads * kHeldPacks;
}

inline LaunchShape block_each(std::int64_t rows) {
  return {dim3(blocks_for(rows, 1)), dim3(kHeldThreads)};
}

}  // namespace wan::cuda
