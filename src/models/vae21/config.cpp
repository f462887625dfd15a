#include "models/vae21/config.h"

#include <string>

namespace wan {

namespace {

constexpr VaeFile kFile{.model = "vae21", .name = "Wan2.1_VAE.pth"};

}  // namespace

Vae21Config vae21_config(const WeightScope& scope) {
  Vae21Config config;
  config.z_dim = require_shape(scope, kFile, "decoder.conv1.weight", 5)[1];
  config.dim = require_shape(scope, kFile, "encoder.conv1.weight", 5)[0];
  WAN_CHECK(config.dim > 0 && config.z_dim > 0, kBadFile, "[vae21] {} has convolutions without channels",
            scope.report().checkpoint().path());
  const WeightScope downsamples = scope.child("encoder.downsamples");
  std::vector<WeightScope> layers;
  const int count = count_layers(downsamples);
  for (int i = 0; i < count; ++i) layers.push_back(downsamples.child(std::to_string(i)));
  config.levels = read_levels(layers, kFile, config.dim);
  return config;
}

}  // namespace wan
