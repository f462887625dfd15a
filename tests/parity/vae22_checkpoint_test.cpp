// What VAE 2.2 says of checkpoints that do not fit: one clear error, and nothing else.

#include <gtest/gtest.h>

#include <fstream>

#include "models/vae21/vae21.h"
#include "models/vae22/vae22.h"
#include "support/edited_checkpoint.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace wan::test {
namespace {

/// Loads levels4.pth after an edit of its table of tensors.
void load_edited_vae22(const TensorEdit& edit) {
  const EditedCheckpoint files = edit_checkpoint("vae22/levels4.pth", edit);
  WeightReport report(files.edited, "VAE");
  const Vae22 vae(WeightScope(report, {}));
  report.check();
}

TEST(Vae22Checkpoint, TheWholeFileIsUsed) {
  EXPECT_NO_THROW(load_edited_vae22([](auto&) {}));
}

TEST(Vae22Checkpoint, DimensionsComeFromTheTensors) {
  WeightReport report(Checkpoint::open(golden_path("vae22/levels4.pth")), "VAE");
  const Vae22 vae(WeightScope::describing(report));
  EXPECT_TRUE(report.clean()) << report.describe();
  const Vae22Config& config = vae.config();
  EXPECT_EQ(config.encoder_dim, 4);
  EXPECT_EQ(config.decoder_dim, 3);
  EXPECT_EQ(config.levels.multipliers, (std::vector<std::int64_t>{1, 2, 4, 2}));
  EXPECT_EQ(config.levels.res_blocks, 1);
  EXPECT_EQ(config.z_dim, 48);
  EXPECT_EQ(config.levels.halves_time, (std::vector<bool>{false, true, true}));
  EXPECT_EQ(vae.geometry().temporal_stride, 4);
  EXPECT_EQ(vae.geometry().spatial_stride, 16);
}

TEST(Vae22Checkpoint, MissingTensorsAreListed) {
  for (const char* name :
       {"decoder.middle.1.to_qkv.bias", "decoder.upsamples.1.upsamples.0.shortcut.weight", "conv2.weight",
        "encoder.downsamples.1.downsamples.1.time_conv.bias",
        "decoder.upsamples.2.upsamples.2.resample.1.weight",
        "encoder.downsamples.3.downsamples.0.residual.6.bias", "decoder.head.0.gamma", "conv1.bias"})
    expect_error(ErrorCode::kBadFile, name,
                 [&] { load_edited_vae22([&](auto& tensors) { drop_tensor(tensors, name); }); });
}

TEST(Vae22Checkpoint, MisshapedTensorsAreListed) {
  expect_error(ErrorCode::kBadFile, "decoder.upsamples.0.upsamples.0.residual.2.weight", [] {
    load_edited_vae22([](auto& tensors) {
      replace_tensor(tensors, "decoder.upsamples.0.upsamples.0.residual.2.weight",
                     "decoder.upsamples.3.upsamples.0.residual.2.weight");
    });
  });
}

TEST(Vae22Checkpoint, UnusedTensorsAreListed) {
  for (const char* name : {"decoder.extra.weight", "decoder.upsamples.0.avg_shortcut.weight"})
    expect_error(ErrorCode::kBadFile, name, [&] {
      load_edited_vae22([&](auto& tensors) {
        tensors.push_back(tensors.front());
        tensors.back().name = name;
      });
    });
}

TEST(Vae22Checkpoint, OtherModelsAreNamed) {
  const auto expect_remedy = [](const char* part, const TensorEdit& edit) {
    expect_error(ErrorCode::kBadFile, part, [&] { load_edited_vae22(edit); });
    expect_error(ErrorCode::kBadFile, "use the Wan2.2_VAE.pth", [&] { load_edited_vae22(edit); });
  };
  expect_remedy("decoder.conv1.weight", [](auto& tensors) { drop_tensor(tensors, "decoder.conv1.weight"); });
  expect_remedy("decoder.head.2.weight",
                [](auto& tensors) { drop_tensor(tensors, "decoder.head.2.weight"); });
  expect_remedy("multiple of 4 channels", [](auto& tensors) {
    replace_tensor(tensors, "encoder.downsamples.0.downsamples.0.residual.2.weight",
                   "decoder.upsamples.3.upsamples.1.residual.2.weight");  // 3 channels
  });
  expect_remedy("3 levels and 3 resampling layers", [](auto& tensors) {
    std::erase_if(tensors,
                  [](const TensorEntry& entry) { return entry.name.starts_with("encoder.downsamples.3."); });
  });
}

TEST(Vae22Checkpoint, TheOtherVaesFileIsRefused) {
  expect_error(ErrorCode::kBadFile, "use the Wan2.2_VAE.pth", [] {
    WeightReport report(Checkpoint::open(golden_path("vae21/levels4.pth")), "VAE");
    const Vae22 vae(WeightScope(report, {}));
  });
  expect_error(ErrorCode::kBadFile, "use the Wan2.1_VAE.pth", [] {
    WeightReport report(Checkpoint::open(golden_path("vae22/levels4.pth")), "VAE");
    const Vae21 vae(WeightScope(report, {}));
  });
}

TEST(Vae22Checkpoint, ShortcutsThatDoNotDivideAreRefused) {
  // 12 channels at the first level: cells of 4 values of 4 channels do not divide into them.
  expect_error(ErrorCode::kBadFile, "to divide into", [] {
    load_edited_vae22([](auto& tensors) {
      replace_tensor(tensors, "encoder.downsamples.0.downsamples.0.residual.2.weight",
                     "decoder.head.2.weight");
    });
  });
}

TEST(Vae22Checkpoint, OtherLatentChannelsAreRefused) {
  expect_error(ErrorCode::kUnsupported, "48 latent channels", [] {
    load_edited_vae22([](auto& tensors) {
      replace_tensor(tensors, "decoder.conv1.weight", "decoder.middle.0.residual.2.weight");  // 6 channels in
    });
  });
}

TEST(Vae22Checkpoint, PrecisionsThatAreNotBuiltAreRefused) {
  expect_error(ErrorCode::kUnsupported, "f32 or bf16", [] {
    WeightReport report(Checkpoint::open(golden_path("vae22/levels4.pth")), "VAE");
    const Vae22 vae(WeightScope(report, {}), {.compute = DType::kF16});
  });
}

TEST(Vae22Checkpoint, TruncatedFilesAreRefused) {
  std::ifstream whole(golden_path("vae22/levels4.pth"), std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(whole)), {});
  TempFolder folder;
  const std::filesystem::path path = folder.path() / "Wan2.2_VAE.pth";
  for (const std::size_t length : {bytes.size() - 1, bytes.size() / 2, std::size_t{100}}) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(length));
    expect_error(ErrorCode::kBadFile, "Wan2.2_VAE.pth", [&] { Checkpoint::open(path); });
  }
}

}  // namespace
}  // namespace wan::test
