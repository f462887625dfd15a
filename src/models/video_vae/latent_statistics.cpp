#include "models/video_vae/latent_statistics.h"

#include <utility>

namespace wan {

CausalConv3d load_denormalizing(const WeightScope& scope, const LatentStatistics& statistics) {
  const std::int64_t z_dim = statistics.channels();
  const WeightScope host = scope.on_host();
  Tensor weight = channels_last_weight(host.load("weight", {z_dim, z_dim, 1, 1, 1}, WeightDType::kFloat32));
  Tensor bias = host.load("bias", {z_dim}, WeightDType::kFloat32);
  if (!weight.empty() && !bias.empty()) {
    float* const w = weight.as<float>();
    for (std::int64_t o = 0; o < z_dim; ++o) {
      double sum = bias.as<float>()[o];
      for (std::int64_t i = 0; i < z_dim; ++i) {
        const auto channel = static_cast<std::size_t>(i);
        float& element = w[o * z_dim + i];
        sum += static_cast<double>(element) * statistics.mean[channel];
        element = static_cast<float>(static_cast<double>(element) * statistics.deviation[channel]);
      }
      bias.as<float>()[o] = static_cast<float>(sum);
    }
  }
  return {scope.place(std::move(weight)),
          scope.place(std::move(bias)),
          {.in = z_dim, .out = z_dim, .kernel = {1, 1, 1}}};
}

CausalConv3d load_normalizing(const WeightScope& scope, const LatentStatistics& statistics) {
  const std::int64_t z_dim = statistics.channels();
  const std::int64_t in = 2 * z_dim;
  const WeightScope host = scope.on_host();
  const Tensor both_weight =
      channels_last_weight(host.load("weight", {in, in, 1, 1, 1}, WeightDType::kFloat32));
  const Tensor both_bias = host.load("bias", {in}, WeightDType::kFloat32);
  const ConvShape shape{.in = in, .out = z_dim, .kernel = {1, 1, 1}};
  if (both_weight.empty() || both_bias.empty()) return {{}, {}, shape};
  Tensor weight(DType::kF32, {z_dim, 1, 1, 1, in});
  Tensor bias(DType::kF32, {z_dim});
  for (std::int64_t o = 0; o < z_dim; ++o) {
    const double mean = statistics.mean[static_cast<std::size_t>(o)];
    const double deviation = statistics.deviation[static_cast<std::size_t>(o)];
    for (std::int64_t i = o * in; i < (o + 1) * in; ++i)
      weight.as<float>()[i] = static_cast<float>(static_cast<double>(both_weight.as<float>()[i]) / deviation);
    bias.as<float>()[o] =
        static_cast<float>((static_cast<double>(both_bias.as<float>()[o]) - mean) / deviation);
  }
  return {scope.place(std::move(weight)), scope.place(std::move(bias)), shape};
}

}  // namespace wan
