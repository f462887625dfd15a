// What VAE 2.1 says of checkpoints that do not fit: one clear error, and nothing else.

#include <gtest/gtest.h>

#include <fstream>

#include "models/vae21/vae21.h"
#include "support/edited_checkpoint.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace wan::test {
namespace {

/// Loads levels4.pth after an edit of its table of tensors.
void load_edited_vae21(const TensorEdit& edit) {
  const EditedCheckpoint files = edit_checkpoint("vae21/levels4.pth", edit);
  WeightReport report(files.edited, "VAE");
  const Vae21 vae(WeightScope(report, {}));
  report.check();
}

TEST(Vae21Checkpoint, TheWholeFileIsUsed) {
  EXPECT_NO_THROW(load_edited_vae21([](auto&) {}));
}

TEST(Vae21Checkpoint, DimensionsComeFromTheTensors) {
  WeightReport report(Checkpoint::open(golden_path("vae21/levels4.pth")), "VAE");
  const Vae21 vae(WeightScope::describing(report));
  EXPECT_TRUE(report.clean()) << report.describe();
  const Vae21Config& config = vae.config();
  EXPECT_EQ(config.dim, 4);
  EXPECT_EQ(config.levels.multipliers, (std::vector<std::int64_t>{1, 2, 2, 3}));
  EXPECT_EQ(config.levels.res_blocks, 1);
  EXPECT_EQ(config.z_dim, 16);
  EXPECT_EQ(config.levels.halves_time, (std::vector<bool>{false, true, true}));
  EXPECT_EQ(vae.geometry().temporal_stride, 4);
  EXPECT_EQ(vae.geometry().spatial_stride, 8);
}

TEST(Vae21Checkpoint, MissingTensorsAreListed) {
  for (const char* name :
       {"decoder.middle.1.to_qkv.bias", "decoder.upsamples.3.shortcut.weight", "conv2.weight",
        "encoder.downsamples.3.time_conv.bias", "decoder.head.0.gamma", "conv1.bias"})
    expect_error(ErrorCode::kBadFile, name,
                 [&] { load_edited_vae21([&](auto& tensors) { drop_tensor(tensors, name); }); });
}

TEST(Vae21Checkpoint, MisshapedTensorsAreListedWithBothShapes) {
  expect_error(ErrorCode::kBadFile, "decoder.upsamples.0.residual.2.weight", [] {
    load_edited_vae21([](auto& tensors) {
      replace_tensor(tensors, "decoder.upsamples.0.residual.2.weight",
                     "decoder.upsamples.9.residual.2.weight");
    });
  });
}

TEST(Vae21Checkpoint, UnusedTensorsAreListed) {
  expect_error(ErrorCode::kBadFile, "decoder.extra.weight", [] {
    load_edited_vae21([](auto& tensors) {
      tensors.push_back(tensors.front());
      tensors.back().name = "decoder.extra.weight";
    });
  });
}

TEST(Vae21Checkpoint, OtherModelsAreNamed) {
  expect_error(ErrorCode::kBadFile, "decoder.conv1.weight", [] {
    load_edited_vae21([](auto& tensors) { drop_tensor(tensors, "decoder.conv1.weight"); });
  });
  expect_error(ErrorCode::kBadFile, "multiple of 4 channels", [] {
    load_edited_vae21([](auto& tensors) {
      replace_tensor(tensors, "encoder.downsamples.0.residual.2.weight",
                     "decoder.head.2.weight");  // 3 channels
    });
  });
  expect_error(ErrorCode::kBadFile, "encoder.downsamples.1", [] {
    load_edited_vae21([](auto& tensors) {
      drop_tensor(tensors, "encoder.downsamples.1.resample.1.weight");
      drop_tensor(tensors, "encoder.downsamples.1.resample.1.bias");
    });
  });
}

TEST(Vae21Checkpoint, OtherLatentChannelsAreRefused) {
  expect_error(ErrorCode::kUnsupported, "16 latent channels", [] {
    load_edited_vae21([](auto& tensors) {
      replace_tensor(tensors, "decoder.conv1.weight",
                     "decoder.middle.0.residual.2.weight");  // 12 channels in
    });
  });
}

TEST(Vae21Checkpoint, PrecisionsThatAreNotBuiltAreRefused) {
  expect_error(ErrorCode::kUnsupported, "f32 or bf16", [] {
    WeightReport report(Checkpoint::open(golden_path("vae21/levels4.pth")), "VAE");
    const Vae21 vae(WeightScope(report, {}), {.compute = DType::kF16});
  });
}

TEST(Vae21Checkpoint, TruncatedFilesAreRefused) {
  std::ifstream whole(golden_path("vae21/levels4.pth"), std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(whole)), {});
  TempFolder folder;
  const std::filesystem::path path = folder.path() / "Wan2.1_VAE.pth";
  for (const std::size_t length : {bytes.size() - 1, bytes.size() / 2, std::size_t{100}}) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(length));
    expect_error(ErrorCode::kBadFile, "Wan2.1_VAE.pth", [&] { Checkpoint::open(path); });
  }
}

}  // namespace
}  // namespace wan::test
