#include "models/video_vae/latent_statistics.h"

#include <utility>

namespace wan {

CausalConv3d load_denormalizing(const WeightScope& scope, const LatentStatistics& statistics) {
  const std::int64_t z_dim = statistics.channels();
  const WeightScope host = scope.on_host();
  // A kernel of one pixel: channels last are in the stored order.
  const Tensor weight = host.load("weight", {z_dim, z_dim, 1, 1, 1}, WeightDType::kFloat32);
  const Tensor bias = host.load("bias", {z_dim}, WeightDType::kFloat32);
  const ConvShape shape{.in = z_dim, .out = z_dim, .kernel = {1, 1, 1}};
  if (weight.empty() || bias.empty()) return {{}, {}, shape};
  const auto index = [](std::int64_t channel) { return static_cast<std::size_t>(channel); };
  Tensor scaled = scope.make(DType::kF32, {z_dim, 1, 1, 1, z_dim}, [&](const TensorView& made) {
    const float* const w = weight.as<float>();
    for (std::int64_t i = 0; i < z_dim * z_dim; ++i)
      made.as<float>()[i] =
          static_cast<float>(static_cast<double>(w[i]) * statistics.deviation[index(i % z_dim)]);
  });
  Tensor shifted = scope.make(DType::kF32, {z_dim}, [&](const TensorView& made) {
    const float* const w = weight.as<float>();
    for (std::int64_t o = 0; o < z_dim; ++o) {
      double sum = bias.as<float>()[o];
      for (std::int64_t i = 0; i < z_dim; ++i)
        sum += static_cast<double>(w[o * z_dim + i]) * statistics.mean[index(i)];
      made.as<float>()[o] = static_cast<float>(sum);
    }
  });
  return {std::move(scaled), std::move(shifted), shape};
}

CausalConv3d load_normalizing(const WeightScope& scope, const LatentStatistics& statistics) {
  const std::int64_t z_dim = statistics.channels();
  const std::int64_t in = 2 * z_dim;
  const WeightScope host = scope.on_host();
  const Tensor weight = host.load("weight", {in, in, 1, 1, 1}, WeightDType::kFloat32);
  const Tensor bias = host.load("bias", {in}, WeightDType::kFloat32);
  const ConvShape shape{.in = in, .out = z_dim, .kernel = {1, 1, 1}};
  if (weight.empty() || bias.empty()) return {{}, {}, shape};
  const auto deviation = [&](std::int64_t o) { return statistics.deviation[static_cast<std::size_t>(o)]; };
  Tensor scaled = scope.make(DType::kF32, {z_dim, 1, 1, 1, in}, [&](const TensorView& made) {
    for (std::int64_t i = 0; i < z_dim * in; ++i)
      made.as<float>()[i] =
          static_cast<float>(static_cast<double>(weight.as<float>()[i]) / deviation(i / in));
  });
  Tensor shifted = scope.make(DType::kF32, {z_dim}, [&](const TensorView& made) {
    for (std::int64_t o = 0; o < z_dim; ++o) {
      const double mean = statistics.mean[static_cast<std::size_t>(o)];
      made.as<float>()[o] =
          static_cast<float>((static_cast<double>(bias.as<float>()[o]) - mean) / deviation(o));
    }
  });
  return {std::move(scaled), std::move(shifted), shape};
}

}  // namespace wan
