// Attention with the queries in the lanes of the vectors: scores, softmax and sums need no reduction across
// lanes, and keys and values need no layout of their own, for they are read one broadcast element at a time.

#include "backends/cpu/kernels/parts.h"
#include "backends/cpu/kernels/vec.h"

namespace wan::WAN_ISA_NAMESPACE {

namespace {

// Accumulators fill the register file: 6 x 4 of 32 registers, 6 x 2 of 16.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kVectors = 4;
#else
constexpr int kVectors = 2;
#endif
constexpr int kRows = 6;
constexpr int kTile = kVectors * kLanes;  // queries
constexpr std::int64_t kKeyBlock = 64;    // scores of a block: 16 KiB at most, within the first-level cache
constexpr float kNoScore = -3.0e38f;      // below every finite score, and finite: inf - inf would be NaN

struct TileVec {
  Vec part[kVectors];
};

WAN_INLINE TileVec load_tile(const float* p) {
  TileVec t;
  for (int v = 0; v < kVectors; ++v) t.part[v] = load(p + v * kLanes);
  return t;
}

WAN_INLINE void store_tile(float* p, const TileVec& t) {
  for (int v = 0; v < kVectors; ++v) store(p + v * kLanes, t.part[v]);
}

/// scores[j] = key_bias[j] + sum_d k[j, d] q[d] for Rows keys.
template <int Rows>
void score_rows(const float* k, std::int64_t k_stride, const float* q, std::int64_t width,
                const float* key_bias, float* scores) {
  Vec total[Rows][kVectors];
  for (int j = 0; j < Rows; ++j)
    for (int v = 0; v < kVectors; ++v) total[j][v] = splat(key_bias == nullptr ? 0.0f : key_bias[j]);
  for (std::int64_t d = 0; d < width; ++d) {
    const TileVec queries = load_tile(q + d * kTile);
    for (int j = 0; j < Rows; ++j) {
      const Vec key = splat(k[j * k_stride + d]);
      for (int v = 0; v < kVectors; ++v) total[j][v] += key * queries.part[v];
    }
  }
  for (int j = 0; j < Rows; ++j)
    for (int v = 0; v < kVectors; ++v) store(scores + j * kTile + v * kLanes, total[j][v]);
}

/// out[d] = out[d] * correction + sum_j v[j, d] weights[j] for Rows elements of a head.
template <int Rows>
void value_rows(const float* values, std::int64_t v_stride, const float* weights, std::int64_t keys,
                const TileVec& correction, float* out) {
  Vec total[Rows][kVectors];
  for (int d = 0; d < Rows; ++d)
    for (int v = 0; v < kVectors; ++v) total[d][v] = load(out + d * kTile + v * kLanes) * correction.part[v];
  for (std::int64_t j = 0; j < keys; ++j) {
    const TileVec weight = load_tile(weights + j * kTile);
    for (int d = 0; d < Rows; ++d) {
      const Vec value = splat(values[j * v_stride + d]);
      for (int v = 0; v < kVectors; ++v) total[d][v] += value * weight.part[v];
    }
  }
  for (int d = 0; d < Rows; ++d)
    for (int v = 0; v < kVectors; ++v) store(out + d * kTile + v * kLanes, total[d][v]);
}

/// Calls f.operator()<Rows>(first) for [0, count) in groups of kRows, then the rest in smaller groups.
template <typename F>
WAN_INLINE void in_groups(std::int64_t count, F f) {
  std::int64_t first = 0;
  for (; first + kRows <= count; first += kRows) f.template operator()<kRows>(first);
  if (first + 4 <= count) {
    f.template operator()<4>(first);
    first += 4;
  }
  if (first + 2 <= count) {
    f.template operator()<2>(first);
    first += 2;
  }
  if (first < count) f.template operator()<1>(first);
}

/// What one tile of queries keeps while it goes through the keys, in the caller's scratch memory.
struct TileState {
  float* queries;  // [D, kTile], times scale; lanes past the last query are 0
  float* result;   // [D, kTile], not yet divided by total
  float* highest;  // [kTile] largest score so far
  float* total;    // [kTile] sum of the weights so far

  TileState(float* memory, std::int64_t width)
      : queries(memory),
        result(queries + width * kTile),
        highest(result + width * kTile),
        total(highest + kTile) {}
  static std::int64_t size(std::int64_t width) { return (2 * width + 2) * kTile; }
};

void start(const AttentionTile& t, std::int64_t first_row, const TileState& state) {
  const std::int64_t rows = t.rows - first_row < kTile ? t.rows - first_row : kTile;
  for (std::int64_t d = 0; d < t.width; ++d) {
    float* to = state.queries + d * kTile;
    for (std::int64_t r = 0; r < rows; ++r) to[r] = t.q[(first_row + r) * t.q_stride + d] * t.scale;
    for (std::int64_t r = rows; r < kTile; ++r) to[r] = 0.0f;
  }
  for (std::int64_t i = 0; i < t.width * kTile; i += kLanes) store(state.result + i, Vec{});
  for (int v = 0; v < kVectors; ++v) {
    store(state.highest + v * kLanes, splat(kNoScore));
    store(state.total + v * kLanes, Vec{});
  }
}

void finish(const AttentionTile& t, std::int64_t first_row, const TileState& state) {
  const std::int64_t rows = t.rows - first_row < kTile ? t.rows - first_row : kTile;
  if (t.log_sums != nullptr)
    for (std::int64_t r = 0; r < rows; ++r)
      t.log_sums[first_row + r] = state.highest[r] + __builtin_logf(state.total[r]);
  for (int v = 0; v < kVectors; ++v) store(state.total + v * kLanes, 1.0f / load(state.total + v * kLanes));
  for (std::int64_t r = 0; r < rows; ++r) {
    float* to = t.out + (first_row + r) * t.out_stride;
    const float factor = state.total[r];
    for (std::int64_t d = 0; d < t.width; ++d) to[d] = state.result[d * kTile + r] * factor;
  }
}

/// Keys and values of one block, wherever they lie.
struct KeyBlock {
  const float* k;
  const float* v;
  std::int64_t k_stride, v_stride;
  std::int64_t first, count;
};

/// Takes from each row's scores what it does not see. Every row sees a key of the first block, so that its highest score is one.
void hide_later_keys(const AttentionTile& t, std::int64_t first_row, const KeyBlock& block, float* scores) {
  const std::int64_t rows = t.rows - first_row < kTile ? t.rows - first_row : kTile;
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int64_t seen = t.visible + first_row + r - block.first;
    for (std::int64_t j = seen < 0 ? 0 : seen; j < block.count; ++j) scores[j * kTile + r] = kNoScore;
  }
}

/// Lets one tile of queries attend to one block of keys. scores: [kKeyBlock, kTile].
void attend(const AttentionTile& t, std::int64_t first_row, const KeyBlock& block, const TileState& state,
            float* scores) {
  in_groups(block.count, [&]<int Rows>(std::int64_t j) {
    score_rows<Rows>(block.k + j * block.k_stride, block.k_stride, state.queries, t.width,
                     t.key_bias == nullptr ? nullptr : t.key_bias + block.first + j, scores + j * kTile);
  });
  if (t.bias != nullptr) {
    const std::int64_t rows = t.rows - first_row < kTile ? t.rows - first_row : kTile;
    for (std::int64_t r = 0; r < rows; ++r) {
      const float* bias = t.bias + (first_row + r) * t.bias_stride + block.first;
      for (std::int64_t j = 0; j < block.count; ++j) scores[j * kTile + r] += bias[j];
    }
  }

  if (t.visible > 0) hide_later_keys(t, first_row, block, scores);

  const TileVec before = load_tile(state.highest);
  TileVec peak = before;
  for (std::int64_t j = 0; j < block.count; ++j)
    for (int v = 0; v < kVectors; ++v)
      peak.part[v] = larger(peak.part[v], load(scores + j * kTile + v * kLanes));
  TileVec correction;
  TileVec total = load_tile(state.total);
  for (int v = 0; v < kVectors; ++v) {
    correction.part[v] = exponential(before.part[v] - peak.part[v]);
    total.part[v] *= correction.part[v];
  }
  for (std::int64_t j = 0; j < block.count; ++j) {
    for (int v = 0; v < kVectors; ++v) {
      float* score = scores + j * kTile + v * kLanes;
      const Vec weight = exponential(load(score) - peak.part[v]);
      store(score, weight);
      total.part[v] += weight;
    }
  }
  store_tile(state.highest, peak);
  store_tile(state.total, total);
  in_groups(t.width, [&]<int Rows>(std::int64_t d) {
    value_rows<Rows>(block.v + d, block.v_stride, scores, block.count, correction, state.result + d * kTile);
  });
}

void copy_rows(const float* from, std::int64_t stride, std::int64_t rows, std::int64_t width, float* to) {
  for (std::int64_t r = 0; r < rows; ++r)
    std::memcpy(to + r * width, from + r * stride, static_cast<std::size_t>(width) * sizeof(float));
}

void attention(const AttentionTile& t) {
  const std::int64_t tiles = (t.rows + kTile - 1) / kTile;
  float* scores = t.scratch;
  float* block_keys = scores + kKeyBlock * kTile;
  float* block_values = block_keys + kKeyBlock * t.width;
  float* states = block_values + kKeyBlock * t.width;
  const auto state = [&](std::int64_t tile) {
    return TileState(states + tile * TileState::size(t.width), t.width);
  };
  for (std::int64_t i = 0; i < tiles; ++i) start(t, i * kTile, state(i));
  for (std::int64_t first = 0; first < t.keys; first += kKeyBlock) {
    const std::int64_t count = t.keys - first < kKeyBlock ? t.keys - first : kKeyBlock;
    KeyBlock block{t.k + first * t.k_stride, t.v + first * t.v_stride, t.k_stride, t.v_stride, first, count};
    if (tiles > 1) {
      copy_rows(block.k, t.k_stride, count, t.width, block_keys);
      copy_rows(block.v, t.v_stride, count, t.width, block_values);
      block = {block_keys, block_values, t.width, t.width, first, count};
    }
    for (std::int64_t i = 0; i < tiles; ++i) attend(t, i * kTile, block, state(i), scores);
  }
  for (std::int64_t i = 0; i < tiles; ++i) finish(t, i * kTile, state(i));
}

std::int64_t attention_scratch(std::int64_t width, std::int64_t rows) {
  const std::int64_t tiles = (rows + kTile - 1) / kTile;
  const std::int64_t size = kKeyBlock * (kTile + 2 * width) + tiles * TileState::size(width);
  return (size + 15) / 16 * 16;  // the next thread's scratch starts on a cache line
}

}  // namespace

void add_attention(CpuKernels& table) {
  table.query_tile = kTile;
  table.attention_scratch = attention_scratch;
  table.attention = attention;
}

CpuKernels make_table() {
  CpuKernels table{};
#define WAN_TEXT_2(name) #name
#define WAN_TEXT(name) WAN_TEXT_2(name)
  table.name = WAN_TEXT(WAN_ISA);
  table.lanes = kLanes;
  add_elementwise(table);
  add_rows(table);
  add_attention(table);
  add_unpack(table);
  return table;
}

}  // namespace wan::WAN_ISA_NAMESPACE
