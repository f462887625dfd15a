#include "tasks/ti2v/text_image_to_video.h"

#include <algorithm>

#include "media/image_size.h"
#include "media/resample.h"
#include "tasks/official_models.h"

namespace wan {

namespace {

Image cover(const Image& image, const VideoSize& size) {
  const CoverCrop place = cover_crop({image.width, image.height}, {size.width, size.height});
  return crop(resize_lanczos(image, place.resized.width, place.resized.height), place.x, place.y, size.width,
              size.height);
}

Tensor encode_condition(const RunContext& run, const VideoVae& vae, const VaePlan& plan, const Shape& shape,
                        const Image& image) {
  const Tensor frame = frame_of(cover(image, run.settings.size));
  dump_frame(run, "image", frame);
  Tensor condition(run.exec.backend.allocator(), DType::kF32, shape);
  encode_clip(
      run, vae, plan,
      [&](std::int64_t, std::span<float> pixels) {
        std::copy_n(frame.as<float>(), pixels.size(), pixels.begin());
      },
      condition);
  if (run.dump != nullptr) run.dump->tensor(run.exec, "condition", condition);
  return condition;
}

}  // namespace

TextImageToVideo::TextImageToVideo()
    : Task({.name = "ti2v-5B",
            .checkpoint = "Wan2.2-TI2V-5B",
            .model_type = "ti2v",
            .transformers = {"."},
            .vae = VaeKind::kVae22,
            .takes_image = true,
            .extends_prompts = true}) {}

ModelDefaults TextImageToVideo::defaults() const {
  return {.size = {1280, 704},
          .frame_num = 121,
          .fps = 24,
          .sample_solver = "unipc",
          .sample_steps = 50,
          .sample_shift = 5.0,
          .sample_guide_scale = {5.0, 5.0},
          .boundary = std::nullopt,
          .negative_prompt = kOfficialNegativePrompt};
}

WanConfig TextImageToVideo::published_transformer() const {
  WanConfig config = official_14b(facts().model_type, 48);
  config.dim = 3072;
  config.ffn_dim = 14336;
  config.out_dim = 48;
  config.num_heads = 24;
  config.num_layers = 30;
  return config;
}

VideoSize TextImageToVideo::size_from_image(const Image& image, const VideoSize& area, const VaeGeometry& vae,
                                            const PatchSize& patch) const {
  const int stride = vae.spatial_stride;
  const ImageSize size =
      best_output_size({image.width, image.height}, stride * static_cast<int>(patch[2]),
                       stride * static_cast<int>(patch[1]), std::int64_t{area.width} * area.height);
  return {size.width, size.height};
}

Shape TextImageToVideo::condition_shape(const VaeGeometry&, const Shape& latent) const {
  return {latent[0], 1, latent[2], latent[3]};
}

void TextImageToVideo::run(Run& run, const RunInputs& inputs) const {
  SegmentInput segment;
  segment.condition = run.condition([&] {
    const VideoVae& vae = run.models().vae;
    const std::optional<Image>& first = inputs.images.first;
    return first ? encode_condition(run.context(), vae, run.encode_plan(),
                                    condition_shape(vae.geometry(), run.latent()), *first)
                 : Tensor();
  });
  if (!segment.condition.empty()) segment.given_frames = segment.condition;
  run.decode(run.denoise(std::move(segment)));
}

}  // namespace wan
