// What the published VAEs' plans ask for at the published sizes. A plan needs no values, so that a table of the shapes
// that dimensions are read from stands for the file.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "models/vae21/vae21.h"
#include "models/vae22/vae22.h"
#include "models/video_vae/plan.h"
#include "tensor/address_allocator.h"

namespace wan::test {
namespace {

constexpr double kGb = 1e-9;

class Shapes {
 public:
  void add(const std::string& name, const Shape& shape) {
    tensors_.push_back({.name = name, .shape = shape, .strides = {}, .storage = {}, .file = "shapes"});
  }
  /// Residual blocks and a resampling layer as the encoders have them; returns how many layers.
  int add_level(const std::string& prefix, int first, std::int64_t channels, const char* resampling) {
    for (int block = 0; block < 2; ++block)
      add(prefix + std::to_string(first++) + ".residual.2.weight", {channels, channels, 3, 3, 3});
    const std::string layer = prefix + std::to_string(first);
    if (std::string(resampling) == "none") return first;
    add(layer + ".resample.1.weight", {channels, channels, 3, 3});
    if (std::string(resampling) == "time") add(layer + ".time_conv.weight", {channels, channels, 3, 1, 1});
    return first + 1;
  }
  Checkpoint checkpoint() const {
    return Checkpoint::from_files({{.tensors = tensors_, .metadata = {}}}, "shapes.pth");
  }

 private:
  std::vector<TensorEntry> tensors_;
};

constexpr const char* kResampling[] = {"space", "time", "time", "none"};
constexpr std::int64_t kMultipliers[] = {1, 2, 4, 4};

Checkpoint published_vae21() {
  Shapes shapes;
  shapes.add("encoder.conv1.weight", {96, 3, 3, 3, 3});
  shapes.add("decoder.conv1.weight", {384, 16, 3, 3, 3});
  int layer = 0;
  for (int level = 0; level < 4; ++level)
    layer = shapes.add_level("encoder.downsamples.", layer, 96 * kMultipliers[level], kResampling[level]);
  return shapes.checkpoint();
}

Checkpoint published_vae22() {
  Shapes shapes;
  shapes.add("encoder.conv1.weight", {160, 12, 3, 3, 3});
  shapes.add("decoder.conv1.weight", {1024, 48, 3, 3, 3});
  shapes.add("decoder.head.2.weight", {12, 256, 3, 3, 3});
  for (int level = 0; level < 4; ++level)
    shapes.add_level("encoder.downsamples." + std::to_string(level) + ".downsamples.", 0,
                     160 * kMultipliers[level], kResampling[level]);
  return shapes.checkpoint();
}

struct Published {
  explicit Published(const Checkpoint& shapes, DType compute = DType::kF32)
      : checkpoint(shapes), report(checkpoint, "VAE") {
    const WeightScope scope = WeightScope::rehearsing(report, addresses, DType::kF32);
    if (looks_like_vae22(checkpoint))
      vae = std::make_unique<Vae22>(scope, VaePrecision{compute});
    else
      vae = std::make_unique<Vae21>(scope, VaePrecision{compute});
  }
  Checkpoint checkpoint;
  WeightReport report;
  AddressAllocator addresses;
  std::unique_ptr<VideoVae> vae;
};

void expect_at_most(const VaePlan& plan, double gigabytes, bool compact_history = false) {
  EXPECT_TRUE(plan.frame_by_frame && plan.compact_history == compact_history);
  EXPECT_LE(static_cast<double>(plan.bytes) * kGb, gigabytes);
  EXPECT_GE(static_cast<double>(plan.bytes) * kGb, 0.97 * gigabytes) << "say the smaller number here";
}

// With three frames a feature cache it would be 13.9 GB, more than is worth the copies that it saves.
TEST(VaeMemory, OfVae21At1280x720) {
  const Published model(published_vae21());
  const LatentExtent extent{.frames = 21, .height = 90, .width = 160};
  expect_at_most(model.vae->plan_decode(extent, 0), 11.2, /*compact_history=*/true);
  expect_at_most(model.vae->plan_encode(extent, 0), 9.0);
}

TEST(VaeMemory, OfVae22At1280x704) {
  const Published model(published_vae22());
  const LatentExtent extent{.frames = 31, .height = 44, .width = 80};
  expect_at_most(model.vae->plan_decode(extent, 0), 11.0);
  expect_at_most(model.vae->plan_encode(extent, 0), 3.9);
}

TEST(VaeMemory, IsHalfInBf16) {
  const Published vae21(published_vae21(), DType::kBF16);
  const LatentExtent extent{.frames = 21, .height = 90, .width = 160};
  expect_at_most(vae21.vae->plan_decode(extent, 0), 7.0);
  expect_at_most(vae21.vae->plan_encode(extent, 0), 4.5);
  const Published vae22(published_vae22(), DType::kBF16);
  const LatentExtent smaller{.frames = 31, .height = 44, .width = 80};
  expect_at_most(vae22.vae->plan_decode(smaller, 0), 5.5);
  expect_at_most(vae22.vae->plan_encode(smaller, 0), 2.0);
}

// A part's halo is little; rank 0 has the whole frames beside it.
TEST(VaeMemory, IsDividedOverRanks) {
  const Published vae21(published_vae21());
  const Published vae22(published_vae22());
  for (const VideoVae* vae : {vae21.vae.get(), vae22.vae.get()}) {
    const std::int64_t stride = vae->geometry().spatial_stride;
    for (const bool portrait : {false, true}) {
      const std::int64_t sides[] = {704 / stride, 1280 / stride};
      const LatentExtent extent{.frames = 21, .height = sides[portrait], .width = sides[!portrait]};
      const auto decode = [&](int ranks) {
        return static_cast<double>(vae->decode_plans(extent, nullptr, ranks).whole_frames_bytes());
      };
      const auto encode = [&](int ranks) {
        return static_cast<double>(vae->encode_plans(extent, nullptr, ranks).whole_frames_bytes());
      };
      EXPECT_LT(decode(2), 0.6 * decode(1)) << stride << portrait;
      EXPECT_LT(decode(4), 0.34 * decode(1)) << stride << portrait;
      EXPECT_LT(encode(2), 0.6 * encode(1)) << stride << portrait;
      EXPECT_LT(encode(4), 0.34 * encode(1)) << stride << portrait;
    }
  }
}

}  // namespace
}  // namespace wan::test
