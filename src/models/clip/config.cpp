#include "models/clip/config.h"

#include <cmath>

#include "base/error.h"

namespace wan {

ClipConfig published_clip_config() {
  return {.dim = 1280, .dim_ffn = 5120, .num_layers = 31, .patch = 14, .grid = 16};
}

ClipConfig clip_config(const WeightScope& visual) {
  constexpr const char* kRemedy =
      "use the models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth of the checkpoint";
  constexpr std::int64_t kMost = 1 << 16;
  const Shape patches = visual.require_shape("patch_embedding.weight", 4, kRemedy);
  const Shape positions = visual.require_shape("pos_embedding", 3, kRemedy);
  const auto grid = static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(positions[1] - 1))));
  const std::string& file = visual.report().checkpoint().path();
  WAN_CHECK(patches[0] >= 1 && patches[0] <= kMost && patches[0] % ClipConfig::kHeads == 0, kBadFile,
            "{}: an image encoder of width {}, which {} heads do not divide; {}", file, patches[0],
            ClipConfig::kHeads, kRemedy);
  WAN_CHECK(patches[2] == patches[3] && patches[2] >= 1 && patches[2] <= 64 && positions[1] <= kMost &&
                grid >= 1 && grid * grid + 1 == positions[1],
            kBadFile, "{}: patches of {} and {} positions make no square picture; {}", file,
            patches.to_string(), positions[1], kRemedy);
  const int layers = visual.count_children("transformer");
  WAN_CHECK(layers >= 2, kBadFile, "{}: an image encoder of {} layers; {}", file, layers, kRemedy);
  return {.dim = patches[0],
          .dim_ffn = visual.require_shape("transformer.0.mlp.0.weight", 2, kRemedy)[0],
          .num_layers = layers - 1,
          .patch = patches[2],
          .grid = grid};
}

}  // namespace wan
