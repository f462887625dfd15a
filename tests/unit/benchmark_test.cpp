// What wan bench counts at the published models' shapes, on a device that computes nothing.

#include "wan/benchmark.h"

#include <gtest/gtest.h>

#include "ops/counting_backend.h"
#include "published/benchmark_internals.h"
#include "support/expect_error.h"

namespace wan::test {
namespace {

BenchmarkRow count(BenchmarkOptions options, const char* phase, int ranks = 1) {
  options.phases = {phase};
  options.repeats = 1;
  options.warmup = 0;
  const auto make = [&] {
    std::vector<std::unique_ptr<Backend>> backends;
    for (int rank = 0; rank < ranks; ++rank)
      backends.push_back(std::make_unique<CountingBackend>(Device{DeviceKind::kCuda, rank}, 141'000'000'000));
    return backends;
  };
  const BenchmarkResult result = run_benchmark(options, make, {});
  EXPECT_EQ(result.rows.size(), 1u);
  return result.rows.at(0);
}

double petaflop(const BenchmarkRow& row) {
  return static_cast<double>(row.flops) * 1e-15;
}

// Published: 1.68 and 6.52 PFLOP a forward of A14B. By hand, with L tokens, d = 5120, f = 13,824 and 512 of text:
// 40 (12 L d^2 + 4 L d f + 4 L^2 d + 4 L 512 d), and the embeddings.
TEST(BenchmarkFlops, TransformerForward) {
  EXPECT_NEAR(petaflop(count({.size = {832, 480}}, "forward")), 1.68, 0.005);
  EXPECT_NEAR(petaflop(count({.size = {1280, 720}}, "forward")), 6.52, 0.005);
}

// Counted as A14B's, over 21 n tokens in a first clip and 22.5 n in later ones, where n is (W / 16)(H / 16), with 12 injectors of sound.
TEST(BenchmarkFlops, ClipsOfSpeech) {
  const auto speech = [](VideoSize size, const char* phase) {
    return petaflop(count({.task = "s2v-14B", .size = size, .frame_num = 80}, phase));
  };
  EXPECT_NEAR(speech({832, 448}, "first"), 1.55, 0.03);
  EXPECT_NEAR(speech({832, 448}, "forward"), 1.72, 0.03);
  EXPECT_NEAR(speech({1024, 704}, "first"), 4.38, 0.05);
  EXPECT_NEAR(speech({1024, 704}, "forward"), 4.90, 0.05);
  EXPECT_NEAR(speech({1280, 704}, "first"), 6.37, 0.08);
  EXPECT_NEAR(speech({1280, 704}, "forward"), 7.16, 0.08);
  expect_error(ErrorCode::kInvalidArgument, "`phases` first", [] {
    count({.size = {832, 480}, .num_layers = 1}, "first");
  });
}

TEST(BenchmarkFlops, RanksShareAStep) {
  const auto flops = [](const char* phase, int ranks, const std::string& halves = "auto") {
    return static_cast<double>(count({.guidance_parallel = halves, .num_layers = 2}, phase, ranks).flops);
  };
  const double forward = flops("forward", 1);
  const double step = flops("step", 1);
  EXPECT_NEAR(step / forward, 2, 0.01);
  EXPECT_EQ(flops("step", 2), forward) << "each runs one of the passes";
  EXPECT_NEAR(flops("step", 2, "off") / step, 0.5, 0.02) << "each has half of the tokens, or of the heads";
  EXPECT_NEAR(flops("forward", 4) / forward, 0.25, 0.02);
  EXPECT_NEAR(flops("step", 4) / step, 0.25, 0.02);
}

TEST(BenchmarkFlops, LayersAddUp) {
  const auto flops = [](int layers) {
    return count({.size = {832, 480}, .num_layers = layers}, "forward").flops;
  };
  const std::int64_t layer = flops(2) - flops(1);
  const std::int64_t tokens = 32760, d = 5120, f = 13824, text = 512;
  EXPECT_EQ(layer, 12 * tokens * d * d + 4 * tokens * d * f + 4 * tokens * tokens * d +
                       4 * tokens * text * d + 4 * text * d * d);
}

// Convolutions 0.63 PFLOP and the middle's attention 6.7 TFLOP (docs/performance.md).
TEST(BenchmarkFlops, VaeDecode) {
  EXPECT_NEAR(petaflop(count({.size = {1280, 720}}, "decode")), 0.64, 0.01);
}

TEST(BenchmarkFlops, RanksSharePictures) {
  const BenchmarkRow one = count({.size = {832, 480}, .frame_num = 9}, "decode");
  const BenchmarkRow two = count({.size = {832, 480}, .frame_num = 9}, "decode", 2);
  EXPECT_NEAR(static_cast<double>(two.flops) / static_cast<double>(one.flops), 0.5, 0.01);
  EXPECT_LT(two.peak_device_bytes, 0.7 * static_cast<double>(one.peak_device_bytes));
}

TEST(BenchmarkMemory, OneExpertIsResident) {
  const BenchmarkRow row = count({.size = {1280, 720}}, "forward");
  EXPECT_NEAR(static_cast<double>(row.weight_bytes) * 1e-9, 29.0,
              1.0);  // 14.3e9 weights in bf16, embeddings in fp32
  EXPECT_LT(row.peak_device_bytes, 40'000'000'000);
  EXPECT_GT(row.peak_device_bytes, row.weight_bytes);
}

TEST(BenchmarkOptions, AreRefusedWithTheRemedy) {
  const auto refuse = [](ErrorCode code, const char* part, const BenchmarkOptions& options) {
    expect_error(code, part, [&] { run_benchmark(options); });
  };
  refuse(ErrorCode::kInvalidArgument, "`size` 833*480: t2v-A14B needs multiples of 16", {.size = {833, 480}});
  refuse(ErrorCode::kInvalidArgument, "`frame_num` 80: expected 4n + 1", {.frame_num = 80});
  refuse(ErrorCode::kInvalidArgument, "`num_layers` 4: animate-14B has a multiple of 5",
         {.task = "animate-14B", .num_layers = 4});
  refuse(ErrorCode::kInvalidArgument, "`phases` sleep", {.phases = {"sleep"}});
  refuse(ErrorCode::kInvalidArgument, "`precision` int8", {.precision = "int8"});
  refuse(ErrorCode::kInvalidArgument, "`vae_precision` int8", {.vae_precision = "int8"});
  refuse(ErrorCode::kInvalidArgument, "`repeats` 0", {.repeats = 0});
  refuse(ErrorCode::kInvalidArgument, "`gpus`: 1 is there twice", {.gpus = {1, 1}});
  refuse(ErrorCode::kInvalidArgument, "`p2p` maybe", {.device = "cpu", .ulysses_size = 2, .p2p = "maybe"});
}

}  // namespace
}  // namespace wan::test
