// The bf16 attention of heads of 128: our own on Hopper, cuDNN's elsewhere, against the composite and, at a video's
// lengths, against f32; and the attention of a VAE's one wide head.

#include "ops/attention.h"

#include <fmt/format.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <latch>
#include <string>
#include <thread>

#include "gpu/device_values.h"

namespace wan::test {
namespace {

// Weights of softmax rounded to bf16 before they multiply values: 2^-9 of each, at random; the result too.
constexpr double kTolerance = 6e-3;
constexpr std::int64_t kWidth = 128;
const float kScale = 1.0f / std::sqrt(128.0f);

/// Tokens outermost: a view of `heads` heads in rows of some more.
struct Tokens {
  Tensor memory;
  TensorView view;
  Tokens(GpuContext& gpu, std::int64_t tokens, std::int64_t heads, std::int64_t memory_heads,
         std::uint64_t seed)
      : memory(gpu.random(DType::kBF16, {tokens, memory_heads, kWidth}, seed)),
        view(memory.view().slice(1, 0, heads)) {}
};

TEST(GpuAttention, MatchesTheCompositeForAnyLength) {
  GpuContext gpu;
  for (const std::int64_t queries : {1, 8, 63, 64, 127, 128, 129, 200, 391})
    for (const std::int64_t keys : {1, 31, 128, 129, 255, 256, 333})
      for (const std::int64_t memory_heads : {2, 3}) {
        const Tokens q(gpu, queries, 2, memory_heads, 1);
        const Tokens k(gpu, keys, 2, memory_heads, 2);
        const Tokens v(gpu, keys, 2, memory_heads, 3);
        // More rows than the result has, to see that they are left alone.
        const Tensor out = gpu.random(DType::kBF16, {queries + 200, 2, kWidth}, 4);
        const Tensor before = gpu.on_host(out);
        attention(gpu.ctx, {q.view, k.view, v.view, kScale, {}, {}, out.view().slice(0, 0, queries)});
        const Tensor after = gpu.on_host(out);
        const auto on_host = [&](const Tokens& t) { return gpu.on_host(t.memory); };
        const Tensor host_q = on_host(q);
        const Tensor host_k = on_host(k);
        const Tensor host_v = on_host(v);
        const Tensor expected(DType::kF64, {queries, 2, kWidth});
        reference(AttentionArgs{host_q.view().slice(1, 0, 2),
                                host_k.view().slice(1, 0, 2),
                                host_v.view().slice(1, 0, 2),
                                kScale,
                                {},
                                {},
                                expected});
        EXPECT_TRUE(all_close(after.view().slice(0, 0, queries), expected, kTolerance))
            << queries << " queries, " << keys << " keys, rows of " << memory_heads << " heads";
        EXPECT_TRUE(all_close(after.view().slice(0, queries, queries + 200),
                              before.view().slice(0, queries, queries + 200), 0.0))
            << queries << " queries: rows past the last were written";
      }
}

/// Scores are sums of products of bf16 in f32, of numbers of some units.
constexpr double kLogSums = 1e-5;

TEST(GpuAttention, TellsItsLogSums) {
  for (const bool hopper : {true, false}) {
    GpuContext gpu({.hopper_attention = hopper});
    for (const std::int64_t queries : {1, 64, 129, 391})
      for (const std::int64_t keys : {1, 31, 128, 333})
        for (const bool has_bias : {false, true}) {
          const Tokens q(gpu, queries, 2, 3, 1);
          const Tokens k(gpu, keys, 2, 3, 2);
          const Tokens v(gpu, keys, 2, 3, 3);
          const Guarded bias = random_tensor(DType::kF32, {keys}, 4);
          const Tensor device_bias = gpu.on_device(bias);
          const Tensor out = gpu.empty(DType::kBF16, {queries, 2, kWidth});
          const Tensor log_sums = gpu.empty(DType::kF32, {2, queries});
          attention(gpu.ctx, {q.view,
                              k.view,
                              v.view,
                              kScale,
                              {},
                              has_bias ? device_bias.view() : TensorView(),
                              out,
                              log_sums});
          const Tensor host_q = gpu.on_host(q.memory);
          const Tensor host_k = gpu.on_host(k.memory);
          const Tensor host_v = gpu.on_host(v.memory);
          const Tensor expected(DType::kF64, {queries, 2, kWidth});
          const Tensor expected_sums(DType::kF64, {2, queries});
          reference(AttentionArgs{host_q.view().slice(1, 0, 2),
                                  host_k.view().slice(1, 0, 2),
                                  host_v.view().slice(1, 0, 2),
                                  kScale,
                                  {},
                                  has_bias ? bias.view() : TensorView(),
                                  expected,
                                  expected_sums});
          EXPECT_TRUE(all_close(gpu.on_host(out), expected, kTolerance));
          EXPECT_TRUE(all_close(gpu.on_host(log_sums), expected_sums, kLogSums))
              << "Hopper " << hopper << ", " << queries << " queries, " << keys << " keys, bias " << has_bias;
        }
  }
}

TEST(GpuAttention, TakesAnyScale) {
  GpuContext gpu;
  const Tokens q(gpu, 200, 1, 1, 1);
  const Tokens k(gpu, 300, 1, 1, 2);
  const Tokens v(gpu, 300, 1, 1, 3);
  for (const float scale : {0.02f, 0.2f, 1.0f, 0.0f, -0.1f}) {
    const Tensor out = gpu.empty(DType::kBF16, {200, 1, kWidth});
    attention(gpu.ctx, {q.view, k.view, v.view, scale, {}, {}, out});
    const Tensor host_q = gpu.on_host(q.memory);
    const Tensor host_k = gpu.on_host(k.memory);
    const Tensor host_v = gpu.on_host(v.memory);
    const Tensor expected(DType::kF64, {200, 1, kWidth});
    reference(AttentionArgs{host_q, host_k, host_v, scale, {}, {}, expected});
    EXPECT_TRUE(all_close(gpu.on_host(out), expected, kTolerance)) << scale;
  }
}

TEST(GpuAttention, AddsABiasForEachKey) {
  GpuContext gpu;
  for (const std::int64_t keys : {1, 7, 20, 64, 127, 128, 129, 300, 512})
    for (const std::int64_t queries : {64, 391}) {
      const Tokens q(gpu, queries, 2, 3, 1);
      const Tokens k(gpu, keys, 2, 3, 2);
      const Tokens v(gpu, keys, 2, 3, 3);
      Guarded key_bias = random_tensor(DType::kF32, {keys}, 4);
      key_bias.view().as<float>()[keys - 1] = std::log(400.0f);  // a padding row that counts as 400
      const Tensor device_bias = gpu.on_device(key_bias);
      const Tensor out = gpu.empty(DType::kBF16, {queries, 2, kWidth});
      for (const float scale : {kScale, 0.3f}) {
        attention(gpu.ctx, {q.view, k.view, v.view, scale, {}, device_bias, out});
        const Tensor host_q = gpu.on_host(q.memory);
        const Tensor host_k = gpu.on_host(k.memory);
        const Tensor host_v = gpu.on_host(v.memory);
        const Tensor expected(DType::kF64, {queries, 2, kWidth});
        reference(AttentionArgs{host_q.view().slice(1, 0, 2),
                                host_k.view().slice(1, 0, 2),
                                host_v.view().slice(1, 0, 2),
                                scale,
                                {},
                                key_bias,
                                expected});
        EXPECT_TRUE(all_close(gpu.on_host(out), expected, kTolerance))
            << queries << " queries, " << keys << " keys";
      }
    }
}

/// An attention with a key bias on a backend of its own, and what it gives when nothing else runs.
struct KeyBiasJob {
  static constexpr std::int64_t kKeys = 300;
  GpuContext gpu;
  Tokens q{gpu, 391, 4, 4, 1};
  Tokens k{gpu, kKeys, 4, 4, 2};
  Tokens v{gpu, kKeys, 4, 4, 3};
  Tensor key_bias;
  Tensor out = gpu.empty(DType::kBF16, {391, 4, kWidth});
  Tensor alone;

  explicit KeyBiasJob(std::uint64_t seed) : key_bias(gpu.random(DType::kF32, {kKeys}, seed, 3.0)) {
    enqueue();
    alone = gpu.on_host(out);
  }
  void enqueue() { attention(gpu.ctx, {q.view, k.view, v.view, kScale, {}, key_bias, out}); }
  bool is_as_alone() {
    const Tensor now = gpu.on_host(out);
    return std::memcmp(now.view().data(), alone.view().data(), alone.bytes()) == 0;
  }
};

TEST(GpuAttention, BackendsOnOneGpuKeepTheirKeyBiasesApart) {
  KeyBiasJob first(10);
  KeyBiasJob second(11);
  ASSERT_NE(std::memcmp(first.alone.view().data(), second.alone.view().data(), first.alone.bytes()), 0);
  std::latch both(2);
  std::atomic<int> wrong{0};
  const auto work = [&](KeyBiasJob& job) {
    both.arrive_and_wait();
    for (int round = 0; round < 200; ++round) {
      for (int i = 0; i < 20; ++i) job.enqueue();  // kernels of both streams at once
      if (!job.is_as_alone()) ++wrong;
    }
  };
  std::thread other([&] { work(second); });
  work(first);
  other.join();
  EXPECT_EQ(wrong, 0) << "of 400 results";
}

/// bf16 attention and its log-sums against f32's, which goes another way.
void expect_as_in_f32(GpuContext& gpu, const TensorView& q, const TensorView& k, const TensorView& v,
                      float scale, const std::string& what) {
  const Shape shape{q.dim(0), q.dim(1), kWidth};
  const Tensor out = gpu.empty(DType::kBF16, shape);
  const Tensor log_sums = gpu.empty(DType::kF32, {q.dim(1), q.dim(0)});
  attention(gpu.ctx, {q, k, v, scale, {}, {}, out, log_sums});
  const auto as_f32 = [&](const TensorView& view) {
    Tensor made = gpu.empty(DType::kF32, view.shape());
    copy(gpu.ctx, {view, made});
    return made;
  };
  const Tensor expected = gpu.empty(DType::kF32, shape);
  const Tensor expected_sums = gpu.empty(DType::kF32, {q.dim(1), q.dim(0)});
  attention(gpu.ctx, {as_f32(q), as_f32(k), as_f32(v), scale, {}, {}, expected, expected_sums});
  EXPECT_TRUE(all_close(gpu.on_host(out), gpu.on_host(expected), kTolerance)) << what;
  EXPECT_TRUE(all_close(gpu.on_host(log_sums), gpu.on_host(expected_sums), kLogSums)) << what;
}

/// 31,899 tokens are those of a video whose length is no multiple of anything.
TEST(GpuAttention, MatchesF32AtVideoLengths) {
  for (const std::int64_t tokens : {4096, 31899, 32760}) {
    GpuContext gpu;
    const Tokens q(gpu, tokens, 2, 2, 1);
    const Tokens k(gpu, tokens, 2, 2, 2);
    const Tokens v(gpu, tokens, 2, 2, 3);
    expect_as_in_f32(gpu, q.view, k.view, v.view, kScale, std::to_string(tokens));
  }
}

/// Round the number of keys from which on the greatest score is looked for in one tile, and round that tile's 176 keys.
TEST(GpuAttention, MatchesF32OverManyKeys) {
  GpuContext gpu;
  for (const std::int64_t keys : {8191, 8192, 8271, 8272, 8273, 8447})
    for (const std::int64_t queries : {1, 129, 256, 391, 700})
      for (const std::int64_t memory_heads : {2, 3}) {
        const Tokens q(gpu, queries, 2, memory_heads, 1);
        const Tokens k(gpu, keys, 2, memory_heads, 2);
        const Tokens v(gpu, keys, 2, memory_heads, 3);
        expect_as_in_f32(gpu, q.view, k.view, v.view, kScale,
                         fmt::format("{} queries, {} keys, rows of {} heads", queries, keys, memory_heads));
      }
}

/// Keys, taken from the last to the first, whose scores differ by more than f32's powers of two hold.
TEST(GpuAttention, TakesKeysWhoseScoresGrow) {
  constexpr std::int64_t kTokens = 9000;
  struct Growth {
    const char* name;
    double (*factor)(std::int64_t token);  // of the first head's keys
  };
  const Growth growths[] = {
      {"by and by",
       [](std::int64_t token) { return 1.0 + 60.0 * static_cast<double>(kTokens - token) / kTokens; }},
      {"at once", [](std::int64_t token) { return token == 1000 ? 400.0 : 1.0; }},
      {"to less", [](std::int64_t token) { return token > 8000 ? 200.0 : 1.0; }},
  };
  GpuContext gpu;
  for (const Growth& growth : growths) {
    const Tokens q(gpu, kTokens, 2, 2, 1);
    const Tokens v(gpu, kTokens, 2, 2, 3);
    const Tensor even = gpu.on_host(gpu.random(DType::kF32, {kTokens, 2, kWidth}, 2));
    auto* const values = even.view().as<float>();
    for (std::int64_t token = 0; token < kTokens; ++token)
      for (std::int64_t i = 0; i < kWidth; ++i)
        values[token * 2 * kWidth + i] *= static_cast<float>(growth.factor(token));
    const Tensor keys = gpu.on_device(even);
    const Tensor k = gpu.empty(DType::kBF16, {kTokens, 2, kWidth});
    copy(gpu.ctx, {keys, k});
    expect_as_in_f32(gpu, q.view, k, v.view, kScale, growth.name);
  }
}

/// All scores are 0 but those of some queries for one key or two, which are as much: below, in and beyond the last octave of f32.
TEST(GpuAttention, TakesFewScoresAboveAllOthers) {
  constexpr std::int64_t kTokens = 9000;
  GpuContext gpu;
  const Tokens v(gpu, kTokens, 1, 1, 3);
  for (const float score : {20.0f, 60.0f, 87.5f, 88.5f, 89.0f, 200.0f})
    for (const bool both : {false, true})
      for (const bool all : {false, true}) {
        const auto made = [&](auto&& first_of) {
          const Tensor host(DType::kF32, {kTokens, 1, kWidth});
          auto* const values = host.view().as<float>();
          for (std::int64_t i = 0; i < host.elements(); ++i)
            values[i] = i % kWidth == 0 ? first_of(i / kWidth) : 0.0f;
          const Tensor f32 = gpu.on_device(host);
          Tensor bf16 = gpu.empty(DType::kBF16, {kTokens, 1, kWidth});
          copy(gpu.ctx, {f32, bf16});
          return bf16;
        };
        const Tensor q = made([&](std::int64_t query) { return all || query == 300 ? 1.0f : 0.0f; });
        const Tensor k =
            made([&](std::int64_t key) { return key == 100 || (both && key == 500) ? score : 0.0f; });
        expect_as_in_f32(gpu, q, k, v.view, 1.0f,
                         fmt::format("{} of {} for {}", score, all ? "all queries" : "one query",
                                     both ? "two keys" : "one key"));
      }
}

/// The middle of the VAEs at 720p, q, k and v side by side in a row: some queries against sums in double.
TEST(GpuAttention, OneWideHeadOverAFramesPixels) {
  struct Frame {
    std::int64_t tokens, width;
  };
  for (const Frame& frame : {Frame{14400, 384}, {3520, 1024}, {3521, 640}})
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      GpuContext gpu;
      const Tensor qkv = gpu.random(dtype, {frame.tokens, 3, frame.width}, 1);
      const Tensor out = gpu.empty(dtype, {frame.tokens, 1, frame.width});
      const auto part = [&](std::int64_t i) { return qkv.view().slice(1, i, i + 1); };
      const float scale = 1.0f / std::sqrt(static_cast<float>(frame.width));
      attention(gpu.ctx, {part(0), part(1), part(2), scale, {}, {}, out});
      const Tensor host = gpu.on_host(qkv);
      const Tensor actual = gpu.on_host(out);
      for (const std::int64_t query : {std::int64_t{0}, frame.tokens / 2, frame.tokens - 1}) {
        const Tensor expected(DType::kF64, {1, 1, frame.width});
        reference(AttentionArgs{host.view().slice(0, query, query + 1).slice(1, 0, 1),
                                host.view().slice(1, 1, 2),
                                host.view().slice(1, 2, 3),
                                scale,
                                {},
                                {},
                                expected});
        EXPECT_TRUE(all_close(actual.view().slice(0, query, query + 1), expected,
                              dtype == DType::kF32 ? 5e-6 : kTolerance))
            << frame.tokens << " tokens of " << frame.width << ", query " << query;
      }
    }
}

TEST(GpuAttention, WithoutTheHopperKernelsToo) {
  GpuContext gpu({.hopper_attention = false});
  const Tokens q(gpu, 391, 2, 3, 1);
  const Tokens k(gpu, 517, 2, 3, 2);
  const Tokens v(gpu, 517, 2, 3, 3);
  const Tensor out = gpu.empty(DType::kBF16, {391, 2, kWidth});
  attention(gpu.ctx, {q.view, k.view, v.view, kScale, {}, {}, out});
  const Tensor host_q = gpu.on_host(q.memory);
  const Tensor host_k = gpu.on_host(k.memory);
  const Tensor host_v = gpu.on_host(v.memory);
  const Tensor expected(DType::kF64, {391, 2, kWidth});
  reference(AttentionArgs{host_q.view().slice(1, 0, 2),
                          host_k.view().slice(1, 0, 2),
                          host_v.view().slice(1, 0, 2),
                          kScale,
                          {},
                          {},
                          expected});
  EXPECT_TRUE(all_close(gpu.on_host(out), expected, kTolerance));
}

}  // namespace
}  // namespace wan::test
