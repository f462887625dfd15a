#include "tasks/s2v/speech_to_video.h"

#include "base/error.h"
#include "media/image_size.h"
#include "tasks/official_models.h"
#include "tasks/s2v/clip_loop.h"
#include "tasks/s2v/pictures.h"

namespace wan {

namespace {

constexpr int kSizeStep = 64;

constexpr const char* kNegativePrompt =
    "画面模糊，最差质量，画面模糊，细节模糊不清，情绪激动剧烈，手快速抖动，字幕，丑陋的，残缺的，多余的手指，"
    "画"
    "得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条"
    "腿，"
    "背景人很多，倒着走";

}  // namespace

SpeechToVideo::SpeechToVideo()
    : Task({.name = "s2v-14B",
            .checkpoint = "Wan2.2-S2V-14B",
            .model_type = "s2v",
            .transformers = {"."},
            .vae = VaeKind::kVae21,
            .takes_image = true,
            .needs_image = true,
            .takes_sound = true,
            .decodes_condition = true,
            .image_role = "of who speaks"}) {}

ModelDefaults SpeechToVideo::defaults() const {
  return {.size = {1280, 720},
          .frame_num = 80,
          .fps = 16,
          .sample_solver = "unipc",
          .sample_steps = 40,
          .sample_shift = 3.0,
          .sample_guide_scale = {4.5, 4.5},
          .boundary = std::nullopt,
          .negative_prompt = kNegativePrompt};
}

WanConfig SpeechToVideo::published_transformer() const {
  WanConfig config = official_14b(facts().model_type, 16);
  config.speech = SpeechConfig{.pose_dim = 16,
                               .audio_dim = 1024,
                               .audio_layers = 25,
                               .audio_tokens = 4,
                               .inject_layers = {0, 4, 8, 12, 16, 20, 24, 27, 30, 33, 36, 39}};
  return config;
}

VideoSize SpeechToVideo::size_from_image(const Image& image, const VideoSize& area, const VaeGeometry&,
                                         const PatchSize&) const {
  const ImageSize size =
      size_within_area({image.width, image.height}, std::int64_t{area.width} * area.height, kSizeStep);
  return {size.width, size.height};
}

std::string SpeechToVideo::told_of_image(const Image& image, const VideoSize& size) const {
  return format_message("the video is {}, the picture {}x{}{}", format_video_size(size), image.width,
                        image.height,
                        pads_reference(image, size) ? ": what it lacks at its edges is black" : "");
}

Shape SpeechToVideo::condition_shape(const VaeGeometry&, const Shape& latent) const {
  return {latent[0], 1 + kMotionLatents + latent[1], latent[2], latent[3]};
}

std::int64_t SpeechToVideo::decoded_latents(std::int64_t segment) const {
  return kMotionLatents + segment;
}

std::int64_t SpeechToVideo::segment_latents(const VaeGeometry& vae, int frames) const {
  return frames / vae.temporal_stride;
}

void SpeechToVideo::run(Run& run, const RunInputs& inputs) const {
  ClipLoop clips(run, inputs);
  while (run.segment() < run.segments()) clips.make();
}

}  // namespace wan
