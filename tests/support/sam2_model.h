#pragma once
// The small SAM 2 of tests/golden/sam2, and the video that it is shown.

#include <cstdint>
#include <memory>

#include "models/sam2/video_segmenter.h"
#include "support/backends.h"
#include "support/compare.h"
#include "support/golden.h"
#include "support/rule_weights.h"
#include "support/tap_recorder.h"

namespace wan::test {

/// The made video: make_sam2.py's frame().
inline Image video_frame(int width, int height, std::int64_t index) {
  const auto i = static_cast<int>(index);
  Image image = make_image(width, height);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      const int dx = x - 40 - 3 * i, dy = y - 32 - i;
      for (int c = 0; c < 3; ++c) {
        const int level = (x * x / 8 + 5 * y + 60 * c + 13 * i) % 256;
        image.row(y)[3 * x + c] = static_cast<std::uint8_t>(dx * dx + dy * dy < 400 ? 255 - level : level);
      }
    }
  return image;
}

/// make_sam2.py's sizes that no tensor tells.
inline sam2::Settings golden_settings(const GoldenFile& golden) {
  const std::vector<std::int64_t> stored = golden.integers("settings");
  sam2::Settings settings;
  settings.image_size = stored[0];
  settings.first_heads = stored[1];
  settings.decoder_heads = stored[2];
  settings.memory_heads = stored[3];
  settings.most_pointers = stored[4];
  settings.hole_area = stored[5];
  settings.windows = {8, 4, 6, 3};
  settings.global_blocks = {4};
  return settings;
}

class LoadedSegmenter {
 public:
  LoadedSegmenter(const RuleWeights& weights, const sam2::Settings& settings, Kernels kernels,
                  DType dtype = DType::kF32)
      : report_(weights.checkpoint(), "video segmenter"),
        scope_(report_, {.compute_dtype = dtype}),
        segmenter(scope_, sam2::read_config(scope_, settings)),
        backend_(make_backend(kernels)),
        workspace_(backend_->allocator()),
        ctx{.backend = *backend_, .workspace = workspace_, .communicator = alone_, .taps = taps.listener()} {
    report_.check();
  }

 private:
  WeightReport report_;
  WeightScope scope_;

 public:
  sam2::VideoSegmenter segmenter;
  TapRecorder taps;

 private:
  std::unique_ptr<Backend> backend_;
  Workspace workspace_;
  SelfCommunicator alone_;

 public:
  ExecContext ctx;
};

}  // namespace wan::test
