#include "tasks/official_models.h"

#include "base/error.h"
#include "settings/settings.h"

namespace wan {

const char* const kOfficialNegativePrompt =
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG"
    "压缩残留，"
    "丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静"
    "止不动的"
    "画面，杂乱的背景，三条腿，背景人很多，倒着走";

WanConfig official_14b(std::string_view model_type, std::int64_t in_dim) {
  return {.model_type = std::string(model_type),
          .dim = 5120,
          .ffn_dim = 13824,
          .freq_dim = 256,
          .in_dim = in_dim,
          .out_dim = 16,
          .num_heads = 40,
          .num_layers = 40,
          .text_len = 512,
          .text_dim = 4096,
          .patch = {1, 2, 2},
          .eps = 1e-6f,
          .speech = {}};
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

Wav2Vec2Config official_audio_encoder() {
  constexpr std::int64_t kChannels = 512;
  return {.convolutions = {{kChannels, 10, 5},
                           {kChannels, 3, 2},
                           {kChannels, 3, 2},
                           {kChannels, 3, 2},
                           {kChannels, 3, 2},
                           {kChannels, 2, 2},
                           {kChannels, 2, 2}},
          .dim = 1024,
          .num_heads = 16,
          .num_layers = 24,
          .dim_ffn = 4096,
          .position_kernel = 128,
          .position_groups = 16,
          .eps = 1e-5f};
}

namespace {

VaeLevels official_levels() {
  return {.multipliers = {1, 2, 4, 4}, .res_blocks = 2, .halves_time = {false, true, true}};
}

}  // namespace

VaeConfig official_vae(const Task& task) {
  if (task.facts().vae == VaeKind::kVae21)
    return Vae21Config{.dim = 96, .z_dim = 16, .levels = official_levels()};
  Vae22Config config;
  config.encoder_dim = 160;
  config.decoder_dim = 256;
  config.z_dim = 48;
  config.levels = official_levels();
  return config;
}

Shape official_latent(const Task& task, const VideoSize& size, int frame_num) {
  const VaeGeometry vae = geometry_of(official_vae(task));
  const WanConfig transformer = task.published_transformer();
  const int unit = vae.spatial_stride * transformer.patch[1];
  constexpr int kMost = 8192;
  WAN_CHECK(size.width > 0 && size.height > 0 && size.width % unit == 0 && size.height % unit == 0 &&
                size.width <= kMost && size.height <= kMost,
            kInvalidArgument, "`size` {}: {} needs multiples of {} up to {}", format_video_size(size),
            task.facts().name, unit, kMost);
  const int stride = vae.temporal_stride;
  const bool clips = task.facts().takes_sound;  // of as many frames as there are latents for
  WAN_CHECK(!clips || SpeechSettings::is_clip(frame_num), kInvalidArgument,
            "`frame_num` {}: a clip of {} has a multiple of {} frames up to {}, such as 80", frame_num,
            task.facts().name, SpeechSettings::kClipStep, SpeechSettings::kMostClipFrames);
  WAN_CHECK(clips || (frame_num >= 1 && frame_num <= 100000 && (frame_num - 1) % stride == 0),
            kInvalidArgument, "`frame_num` {}: expected {}n + 1 frames, such as 81", frame_num, stride);
  return {transformer.out_dim, task.segment_latents(vae, frame_num), size.height / vae.spatial_stride,
          size.width / vae.spatial_stride};
}

}  // namespace wan
