// Attention of one tile of queries, which lie in the lanes of the vectors: scores, softmax and sums need no
// reduction across lanes, and keys and values are read where they are, one broadcast element at a time.

#include "backends/cpu/kernels/parts.h"

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

/// Queries times scale, transposed to [width, kTile]; lanes past the last query are 0.
void transpose_queries(const AttentionTile& t, float* to) {
  for (std::int64_t d = 0; d < t.width; ++d) {
    for (std::int64_t r = 0; r < t.rows; ++r) to[d * kTile + r] = t.q[r * t.q_stride + d] * t.scale;
    for (std::int64_t r = t.rows; r < kTile; ++r) to[d * kTile + r] = 0.0f;
  }
}

void attention(const AttentionTile& t) {
  float* queries = t.scratch;                 // [D, kTile]
  float* result = queries + t.width * kTile;  // [D, kTile]
  float* scores = result + t.width * kTile;   // [kKeyBlock, kTile]
  transpose_queries(t, queries);
  for (std::int64_t i = 0; i < t.width * kTile; i += kLanes) store(result + i, Vec{});
  TileVec highest;
  TileVec total;
  for (int v = 0; v < kVectors; ++v) {
    highest.part[v] = splat(kNoScore);
    total.part[v] = Vec{};
  }
  for (std::int64_t first = 0; first < t.keys; first += kKeyBlock) {
    const std::int64_t keys = t.keys - first < kKeyBlock ? t.keys - first : kKeyBlock;
    in_groups(keys, [&]<int Rows>(std::int64_t j) {
      score_rows<Rows>(t.k + (first + j) * t.k_stride, t.k_stride, queries, t.width,
                       t.key_bias == nullptr ? nullptr : t.key_bias + first + j, scores + j * kTile);
    });
    if (t.bias != nullptr)
      for (std::int64_t r = 0; r < t.rows; ++r)
        for (std::int64_t j = 0; j < keys; ++j)
          scores[j * kTile + r] += t.bias[r * t.bias_stride + first + j];

    TileVec peak = highest;
    for (std::int64_t j = 0; j < keys; ++j)
      for (int v = 0; v < kVectors; ++v)
        peak.part[v] = larger(peak.part[v], load(scores + j * kTile + v * kLanes));
    TileVec correction;
    for (int v = 0; v < kVectors; ++v) {
      correction.part[v] = exponential_of_negative(highest.part[v] - peak.part[v]);
      total.part[v] *= correction.part[v];
    }
    highest = peak;
    for (std::int64_t j = 0; j < keys; ++j) {
      for (int v = 0; v < kVectors; ++v) {
        float* score = scores + j * kTile + v * kLanes;
        const Vec weight = exponential_of_negative(load(score) - peak.part[v]);
        store(score, weight);
        total.part[v] += weight;
      }
    }
    in_groups(t.width, [&]<int Rows>(std::int64_t d) {
      value_rows<Rows>(t.v + first * t.v_stride + d, t.v_stride, scores, keys, correction,
                       result + d * kTile);
    });
  }
  TileVec inverse;
  for (int v = 0; v < kVectors; ++v) inverse.part[v] = 1.0f / total.part[v];
  for (std::int64_t d = 0; d < t.width; ++d) {
    TileVec row = load_tile(result + d * kTile);
    for (int v = 0; v < kVectors; ++v) row.part[v] *= inverse.part[v];
    store_tile(result + d * kTile, row);
  }
  for (std::int64_t r = 0; r < t.rows; ++r)
    for (std::int64_t d = 0; d < t.width; ++d) t.out[r * t.out_stride + d] = result[d * kTile + r];
}

std::int64_t attention_scratch(std::int64_t width) {
  return (2 * width + kKeyBlock) * kTile;
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
  return table;
}

}  // namespace wan::WAN_ISA_NAMESPACE
