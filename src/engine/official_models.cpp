#include "engine/official_models.h"

#include "base/error.h"

namespace wan {

namespace {

/// Whether the task's published checkpoint has VAE 2.2; VAE 2.1 otherwise.
bool uses_vae22(const TaskInfo& task) {
  return task.transformers == 1;
}

}  // namespace

WanConfig official_transformer(const TaskInfo& task) {
  WanConfig config{.model_type = std::string(task.model_type),
                   .dim = 5120,
                   .ffn_dim = 13824,
                   .freq_dim = 256,
                   .in_dim = 16,
                   .out_dim = 16,
                   .num_heads = 40,
                   .num_layers = 40,
                   .text_len = 512,
                   .text_dim = 4096,
                   .patch = {1, 2, 2},
                   .eps = 1e-6f};
  if (task.image == ImageUse::kRequired) config.in_dim = 36;  // and a mask of 4, and 16 of the image
  if (uses_vae22(task)) {
    config.dim = 3072;
    config.ffn_dim = 14336;
    config.in_dim = config.out_dim = 48;
    config.num_heads = 24;
    config.num_layers = 30;
  }
  return config;
}

Umt5Config official_text_encoder() {
  return {.vocabulary = 256384,
          .dim = 4096,
          .dim_attention = 4096,
          .dim_ffn = 10240,
          .num_heads = 64,
          .num_layers = 24,
          .num_buckets = 32};
}

namespace {

VaeLevels official_levels() {
  return {.multipliers = {1, 2, 4, 4}, .res_blocks = 2, .halves_time = {false, true, true}};
}

}  // namespace

VaeConfig official_vae(const TaskInfo& task) {
  if (!uses_vae22(task)) return Vae21Config{.dim = 96, .z_dim = 16, .levels = official_levels()};
  Vae22Config config;
  config.encoder_dim = 160;
  config.decoder_dim = 256;
  config.z_dim = 48;
  config.levels = official_levels();
  return config;
}

ModelShapes official_models(const TaskInfo& task, const VaePrecision& precision) {
  return {.transformers =
              std::vector<WanConfig>(static_cast<std::size_t>(task.transformers), official_transformer(task)),
          .text_encoder = official_text_encoder(),
          .vae = official_vae(task),
          .vae_precision = precision};
}

Shape official_latent(const TaskInfo& task, const VideoSize& size, int frame_num) {
  const VaeGeometry vae = geometry_of(official_vae(task));
  const WanConfig transformer = official_transformer(task);
  const int unit = vae.spatial_stride * transformer.patch[1];
  constexpr int kMost = 8192;
  WAN_CHECK(size.width > 0 && size.height > 0 && size.width % unit == 0 && size.height % unit == 0 &&
                size.width <= kMost && size.height <= kMost,
            kInvalidArgument, "--size {}: {} needs multiples of {} up to {}", format_video_size(size),
            task.name, unit, kMost);
  const int stride = vae.temporal_stride;
  WAN_CHECK(frame_num >= 1 && frame_num <= 100000 && (frame_num - 1) % stride == 0, kInvalidArgument,
            "--frame_num {}: expected {}n + 1 frames, such as 81", frame_num, stride);
  return {transformer.out_dim, vae.latent_frames(frame_num), size.height / vae.spatial_stride,
          size.width / vae.spatial_stride};
}

}  // namespace wan
