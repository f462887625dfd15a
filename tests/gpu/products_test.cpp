// Products and convolutions at a model's sizes: sampled results against sums in double on the host.

#include "ops/conv3d.h"
#include "ops/linear.h"

#include <cmath>
#include <random>
#include <vector>

#include "gpu/device_values.h"

namespace wan::test {
namespace {

struct Product {
  std::int64_t rows, inner, columns;
  DType weight, out;
  ActivationKind activation;
};

/// Relative RMS over some rows, whole.
double sampled_error(GpuContext& gpu, const Product& p) {
  const Tensor x = gpu.random(p.weight, {p.rows, p.inner}, 1);
  const Tensor weight = gpu.random(p.weight, {p.columns, p.inner}, 2, 0.05);
  const Tensor bias = gpu.random(DType::kF32, {p.columns}, 3);
  const Tensor out = gpu.empty(p.out, {p.rows, p.columns});
  linear(gpu.ctx, {x, weight, bias, out, p.activation});
  std::mt19937 random(7);
  double error = 0.0;
  double norm = 0.0;
  const Tensor host_weight = gpu.on_host(weight);
  const Tensor host_bias = gpu.on_host(bias);
  for (int sample = 0; sample < 3; ++sample) {
    const auto row = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(p.rows));
    const Tensor expected(DType::kF64, {1, p.columns});
    const Tensor host_x = gpu.on_host(x.view().slice(0, row, row + 1));
    reference(LinearArgs{host_x, host_weight, host_bias, expected, p.activation});
    const Tensor actual = gpu.on_host(out.view().slice(0, row, row + 1));
    for (std::int64_t c = 0; c < p.columns; ++c) {
      error += std::pow(load_element(actual, {0, c}) - expected.as<double>()[c], 2);
      norm += std::pow(expected.as<double>()[c], 2);
    }
  }
  return std::sqrt(error / norm);
}

TEST(GpuProducts, MatchSumsInDoubleAtModelSizes) {
  GpuContext gpu;
  constexpr auto kBF16 = DType::kBF16;
  constexpr auto kF32 = DType::kF32;
  for (const Product& p : {Product{4097, 5120, 5120, kBF16, kBF16, ActivationKind::kNone},
                           {4097, 5120, 13824, kBF16, kBF16, ActivationKind::kGeluTanh},
                           {4097, 13824, 5120, kBF16, kF32, ActivationKind::kNone},
                           {1, 5120, 30720, kF32, kF32, ActivationKind::kNone},
                           {512, 4096, 10240, kBF16, kBF16, ActivationKind::kSiLU}})
    // A product of f32 in TF32 would be off by 3e-4; tensor cores' sums over 13,824 products were off by 1.5e-5.
    EXPECT_LE(sampled_error(gpu, p), p.out == kBF16     ? 0.00390625
                                     : p.inner > 10'000 ? 3e-5
                                                        : 1e-5)
        << p.rows << " x " << p.inner << " x " << p.columns;
}

TEST(GpuProducts, PlansAreKeptAndNothingIsAllocatedAgain) {
  GpuContext gpu;
  const Tensor x = gpu.random(DType::kF32, {300, 256}, 1);
  const Tensor weight = gpu.random(DType::kBF16, {512, 256}, 2);
  const Tensor out = gpu.empty(DType::kBF16, {300, 512});
  const Tensor frames = gpu.random(DType::kF32, {3, 32, 32, 64}, 3);
  const Tensor kernel = gpu.random(DType::kF32, {64, 3, 3, 3, 64}, 4);
  const Tensor result = gpu.empty(DType::kF32, {1, 32, 32, 64});
  const auto pass = [&] {
    linear(gpu.ctx, {x, weight, {}, out, ActivationKind::kGeluTanh});
    conv3d(gpu.ctx, {frames, kernel, {}, {1, 1, 1}, {1, 1, 1, 1}, {}, result});
  };
  for (int i = 0; i < 3; ++i) pass();
  const std::int64_t before = gpu.backend->memory_use().peak;
  const int allocations = gpu.workspace.allocations();
  for (int i = 0; i < 3; ++i) pass();
  gpu.backend->synchronize();
  EXPECT_EQ(gpu.backend->memory_use().peak, before);
  EXPECT_EQ(gpu.workspace.allocations(), allocations);
}

TEST(GpuProducts, ConvolutionsHoldTheirPrecision) {
  for (const bool tf32 : {true, false}) {
    GpuContext gpu({.tf32_convolutions = tf32});
    const Tensor x = gpu.random(DType::kF32, {4, 20, 24, 96}, 1);
    const Tensor weight = gpu.random(DType::kF32, {96, 3, 3, 3, 96}, 2, 0.1);
    const Tensor bias = gpu.random(DType::kF32, {96}, 3);
    const Tensor residual = gpu.random(DType::kF32, {2, 20, 24, 96}, 4);
    const Tensor out = gpu.empty(DType::kF32, {2, 20, 24, 96});
    const Conv3dArgs args{x, weight, bias, {1, 1, 1}, {1, 1, 1, 1}, residual, out};
    conv3d(gpu.ctx, args);
    Conv3dArgs host = args;
    const Tensor host_x = gpu.on_host(x);
    const Tensor host_weight = gpu.on_host(weight);
    const Tensor host_bias = gpu.on_host(bias);
    const Tensor host_residual = gpu.on_host(residual);
    const Tensor expected(DType::kF64, {2, 20, 24, 96});
    host.x = host_x;
    host.weight = host_weight;
    host.bias = host_bias;
    host.residual = host_residual;
    host.out = expected;
    reference(host);
    EXPECT_TRUE(all_close(gpu.on_host(out), expected, tf32 ? 1e-3 : 5e-6)) << (tf32 ? "TF32" : "f32");
  }
}

/// Tried algorithms leave nothing behind: a residual in place counts once.
TEST(GpuProducts, TuningChangesNoMoreThanBits) {
  GpuContext plain({.tune = false});
  GpuContext tuned({.tune = true});
  const auto results = [](GpuContext& gpu) {
    const Tensor x = gpu.random(DType::kBF16, {8192, 2048}, 1);
    const Tensor weight = gpu.random(DType::kBF16, {2048, 2048}, 2, 0.05);
    const Tensor bias = gpu.random(DType::kF32, {2048}, 3);
    const Tensor product = gpu.empty(DType::kBF16, {8192, 2048});
    linear(gpu.ctx, {x, weight, bias, product, ActivationKind::kGeluTanh});
    const Tensor frames = gpu.random(DType::kBF16, {3, 240, 320, 96}, 4);
    const Tensor kernel = gpu.random(DType::kBF16, {192, 3, 3, 3, 96}, 5, 0.05);
    const Tensor channel_bias = gpu.random(DType::kF32, {192}, 6);
    const Tensor sum = gpu.random(DType::kBF16, {1, 240, 320, 192}, 7);
    conv3d(gpu.ctx, {frames, kernel, channel_bias, {1, 1, 1}, {1, 1, 1, 1}, sum, sum});
    std::vector<Tensor> made;
    made.push_back(gpu.on_host(product));
    made.push_back(gpu.on_host(sum));
    return made;
  };
  const std::vector<Tensor> expected = results(plain);
  const std::vector<Tensor> actual = results(tuned);
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_TRUE(all_close(actual[i], expected[i], 0.00390625)) << i;
}

}  // namespace
}  // namespace wan::test
