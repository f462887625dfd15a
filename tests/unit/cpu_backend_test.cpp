// The CPU backend as a whole: its vector functions on every instruction set, its threads, and ranks that share it.

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <limits>
#include <thread>
#include <vector>

#include "backends/cpu/kernels/kernels.h"
#include "base/memory_info.h"
#include "support/compare.h"
#include "support/cpu_context.h"
#include "support/guarded.h"
#include "support/scratch_cases.h"

namespace wan::test {
namespace {

std::vector<const CpuKernels*> all_kernels() {
  std::vector<const CpuKernels*> tables(8);
  tables.resize(static_cast<std::size_t>(supported_cpu_kernels(tables.data(), 8)));
  return tables;
}

TEST(CpuKernels, ExponentialIsWithinTwoUlp) {
  std::vector<float> x;
  for (int i = -87'300'000; i <= 88'000'000; i += 997) x.push_back(1e-6f * static_cast<float>(i));
  std::vector<float> y(x.size());
  for (const CpuKernels* kernels : all_kernels()) {
    kernels->exponential(x.data(), y.data(), static_cast<std::int64_t>(x.size()));
    double worst = 0.0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double exact = std::exp(static_cast<double>(x[i]));
      const float rounded = static_cast<float>(exact);
      const double ulp = static_cast<double>(std::nextafterf(rounded, 3e38f)) - static_cast<double>(rounded);
      worst = std::max(worst, std::fabs(static_cast<double>(y[i]) - exact) / ulp);
    }
    EXPECT_LE(worst, 2.0) << kernels->name;
  }
}

TEST(CpuBackend, OpsTakeTheScratchThatIsStated) {
  const auto backend = make_cpu_backend({.threads = 2});
  expect_scratch_as_stated(*backend);
}

TEST(CpuBackend, CountsItsMemory) {
  const auto backend = make_cpu_backend({.threads = 1});
  {
    const Tensor first(backend->allocator(), DType::kU8, {1000});
    const Tensor second(backend->allocator(), DType::kU8, {500});
    EXPECT_EQ(backend->memory_use().now, 1500);
  }
  EXPECT_EQ(backend->memory_use().now, 0);
  EXPECT_EQ(backend->memory_use().peak, 1500);
  EXPECT_GT(backend->free_bytes(), 1 << 20);
}

TEST(CpuBackend, TrimmedMemoryIsTheMachinesAgain) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizer's heap keeps what was given back, to find its use";
#endif
  const auto backend = make_cpu_backend({.threads = 1});
  constexpr int kBlocks = 640;
  constexpr std::size_t kBytes = 100'000;  // of the heap, not a mapping of their own
  std::vector<Buffer> blocks, between;
  for (int i = 0; i < kBlocks; ++i) {
    blocks.emplace_back(backend->allocator(), kBytes);
    std::memset(blocks.back().data(), 1, kBytes);
    between.emplace_back(backend->allocator(), 4000);  // stays, so that no end of the heap is free
  }
  const std::int64_t before = private_bytes();
  blocks.clear();
  EXPECT_GT(private_bytes(), before - 10'000'000) << "the heap gave it back by itself: nothing is shown here";
  backend->allocator().trim();
  EXPECT_LT(private_bytes(), before - 50'000'000);
}

TEST(CpuBackend, WhatNoPlanCountsIsStillFreeForTheNextPlan) {
  const auto backend = make_cpu_backend({.threads = 1});
  const std::int64_t before = backend->free_bytes() - available_memory_bytes();
  const std::vector<char> uncounted(64 << 20, 1);
  const std::int64_t after = backend->free_bytes() - available_memory_bytes();
  EXPECT_NEAR(static_cast<double>(after - before), static_cast<double>(uncounted.size()), 2e7);
  Buffer counted(backend->allocator(), 64 << 20);
  std::memset(counted.data(), 1, counted.size());
  EXPECT_NEAR(static_cast<double>(backend->free_bytes() - available_memory_bytes()),
              static_cast<double>(after), 2e7)
      << "what the backend gives out is in memory_use()";
  const std::vector<char> too_much(std::size_t{700} << 20, 1);
  EXPECT_LT(backend->free_bytes() - available_memory_bytes(), std::int64_t{600} << 20);
}

TEST(CpuKernels, ExponentialAtItsEnds) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float x[] = {0.0f, -0.0f, -87.4f, -1e30f, -infinity, std::numeric_limits<float>::quiet_NaN()};
  for (const CpuKernels* kernels : all_kernels()) {
    float y[6];
    kernels->exponential(x, y, 6);
    EXPECT_EQ(y[0], 1.0f);
    EXPECT_EQ(y[1], 1.0f);
    for (int i = 2; i < 5; ++i) EXPECT_EQ(y[i], 0.0f) << kernels->name << " at " << x[i];
    EXPECT_TRUE(std::isnan(y[5]));
  }
}

TEST(CpuKernels, RoundsToBf16AsTheScalarFunctionDoes) {
  // Ties to even both ways, carries into the exponent, overflow to infinity, NaN with only low bits set.
  const std::uint32_t bits[] = {0x3f808000u, 0x3f818000u, 0x3f808001u, 0x3f807fffu, 0x3fffffffu, 0x7f7fffffu,
                                0x7f800000u, 0xff800000u, 0x7f800001u, 0xffc00000u, 0x00000001u, 0x80008000u,
                                0x00000000u, 0x3eaaaaabu, 0xc2f6e979u, 0x7fffffffu, 0x33d6bf95u};
  std::vector<float> x(std::size(bits));
  std::memcpy(x.data(), bits, sizeof bits);
  const auto n = static_cast<std::int64_t>(x.size());
  for (const CpuKernels* kernels : all_kernels()) {
    std::vector<std::uint16_t> narrow(x.size());
    std::vector<float> wide(x.size());
    std::vector<float> rounded(x.size());
    kernels->f32_to_bf16(x.data(), narrow.data(), n);
    kernels->bf16_to_f32(narrow.data(), wide.data(), n);
    kernels->round_to_bf16(x.data(), rounded.data(), n);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const BF16 expected = to_bf16(x[i]);
      EXPECT_EQ(narrow[i], expected.bits) << kernels->name << ", " << i;
      const float value = to_float(expected);
      EXPECT_EQ(std::memcmp(&wide[i], &value, 4), 0) << kernels->name << ", " << i;
      EXPECT_EQ(std::memcmp(&rounded[i], &value, 4), 0) << kernels->name << ", " << i;
    }
  }
}

TEST(CpuBackend, HasAsManyThreadsAsItMayUse) {
  const int cpus = available_cpus();
  EXPECT_GE(cpus, 1);
  EXPECT_LE(cpus, static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
  EXPECT_THROW(make_cpu_backend({.threads = -1}), Error);
}

TEST(CpuBackend, UploadsAndDownloads) {
  CpuContext cpu;
  const Guarded from = random_tensor(DType::kF32, {3, 5}, 1);
  const Guarded there(DType::kF32, {3, 5});
  const Guarded back(DType::kF32, {3, 5});
  cpu.backend->upload(from, there);
  cpu.backend->download(there, back);
  EXPECT_TRUE(all_close(back, from, 0.0));
  EXPECT_TRUE(there.intact());
  EXPECT_THROW(cpu.backend->upload(from, Guarded(DType::kBF16, {3, 5})), Error);
  EXPECT_THROW(cpu.backend->upload(from, Guarded(DType::kF32, {3, 4})), Error);
  EXPECT_THROW(cpu.backend->download(from, Guarded(DType::kF32, {3, 5}, Layout::kPaddedRows)), Error);
}

/// A product, attention and a convolution of random values, one after the other.
Tensor work(ExecContext& ctx, std::uint32_t seed) {
  const Guarded x = random_tensor(DType::kF32, {70, 48}, seed);
  const Guarded weight = random_tensor(DType::kF32, {96, 48}, seed + 1, Layout::kContiguous, 0.2);
  const Tensor product(DType::kF32, {70, 96});
  linear(ctx, {x, weight, {}, product, ActivationKind::kGeluTanh});
  const TensorView heads = product.view().reshape({70, 4, 24});
  const Tensor mixed(DType::kF32, {70, 4, 24});
  attention(ctx, {heads, heads, heads, 0.2f, {}, {}, mixed});
  const Guarded kernel = random_tensor(DType::kF32, {16, 3, 3, 3, 24}, seed + 2, Layout::kContiguous, 0.2);
  Tensor out(DType::kF32, {5, 8, 4, 16});
  conv3d(ctx, {mixed.view().reshape({7, 10, 4, 24}), kernel, {}, {1, 1, 1}, {0, 0, 1, 1}, {}, out});
  return out;
}

#if defined(__GNUC__) && !defined(__clang__)
std::ptrdiff_t threads_of_this_process() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
}

TEST(CpuBackend, HoldsThreadsAsleepWhileItLivesUnlessSomeoneChoseOtherwise) {
  ::unsetenv("OMP_WAIT_POLICY");
  ::unsetenv("GOMP_SPINCOUNT");
  const std::ptrdiff_t before = threads_of_this_process();
  {
    const auto first = make_cpu_backend({.threads = 2});
    const std::ptrdiff_t held = threads_of_this_process();
    EXPECT_GT(held, before + 1);
    const auto second = make_cpu_backend({.threads = 2});
    EXPECT_EQ(threads_of_this_process(), held) << "one team serves all backends";
  }
  for (int wait = 0; wait < 500 && threads_of_this_process() > before; ++wait)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(threads_of_this_process(), before);
  EXPECT_NE(make_cpu_backend({.threads = 1}), nullptr);
  EXPECT_EQ(threads_of_this_process(), before) << "one thread waits for none";
  ::setenv("GOMP_SPINCOUNT", "1000", 1);
  const auto left_alone = make_cpu_backend({.threads = 2});
  EXPECT_EQ(threads_of_this_process(), before);
}
#endif

TEST(CpuBackend, RanksShareOneBackend) {
  CpuContext alone(1);
  std::vector<Tensor> expected;
  for (std::uint32_t rank = 0; rank < 4; ++rank) expected.push_back(work(alone.ctx, 10 * rank));
  const auto shared = make_cpu_backend({.threads = 2});
  std::vector<std::thread> threads;
  for (std::uint32_t rank = 0; rank < 4; ++rank)
    threads.emplace_back([&, rank] {
      Workspace workspace(cpu_allocator());
      SelfCommunicator communicator;
      ExecContext ctx{*shared, workspace, communicator, {}, nullptr, true};
      for (int repeat = 0; repeat < 10; ++repeat) {
        // Two threads may add up in another order than one: three times an op's own tolerance.
        EXPECT_TRUE(all_close(work(ctx, 10 * rank), expected[rank], 6e-6)) << "rank " << rank;
      }
    });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace wan::test
