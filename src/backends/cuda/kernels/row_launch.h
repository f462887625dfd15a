#pragma once
// How the row kernels are launched: which threads a row gets, and how many rows a block.

#include <type_traits>

#include "backends/cuda/kernels/launch_types.h"

namespace wan::cuda {

template <int kValue>
using Constant = std::integral_constant<int, kValue>;

inline constexpr int kWarpRow = 32;
inline constexpr int kBlockRow = 256;
inline constexpr int kWarpRowsABlock = 4;

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

/// visit(Constant<8>()) or visit(Constant<kNarrow>()).
template <int kNarrow, typename Visit>
void with_pack(bool wide, Visit&& visit) {
  constexpr int kWide = 8;
  if (wide) return visit(Constant<kWide>());
  visit(Constant<kNarrow>());
}

/// visit(Constant<lanes a row>()): the fewest, 4 to a warp, that hold a row's packs in `packs_a_lane` each.
template <typename Visit>
void with_row_lanes(std::int64_t packs, int packs_a_lane, Visit&& visit) {
  if (packs <= 4 * packs_a_lane) return visit(Constant<4>());
  if (packs <= 8 * packs_a_lane) return visit(Constant<8>());
  if (packs <= 16 * packs_a_lane) return visit(Constant<16>());
  WAN_ASSERT(packs <= 32 * packs_a_lane);
  visit(Constant<32>());
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

}  // namespace wan::cuda
