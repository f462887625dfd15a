#include "tasks/i2v/image_to_video.h"

#include <algorithm>

#include "media/image_size.h"
#include "media/resample.h"
#include "tasks/official_models.h"

namespace wan {

namespace {

/// Bicubic without antialiasing, as the official code resizes the image.
Tensor resized_frame(const Image& image, const VideoSize& size) {
  const Tensor pixels = frame_of(image);
  Tensor frame(DType::kF32, {size.height, size.width, 3});
  resize_bicubic({pixels.as<float>(), static_cast<std::size_t>(pixels.elements())}, image.width, image.height,
                 {frame.as<float>(), static_cast<std::size_t>(frame.elements())}, size.width, size.height);
  return frame;
}

/// The largest part round the middle that has the shape of `size`.
Image cropped_to_shape(const Image& image, const VideoSize& size) {
  const auto scaled = [](std::int64_t side, int to, int from) {
    return static_cast<int>(std::max<std::int64_t>(1, (side * to + from / 2) / from));
  };
  const int width = std::min(image.width, scaled(image.height, size.width, size.height));
  const int height = std::min(image.height, scaled(image.width, size.height, size.width));
  return crop(image, (image.width - width) / 2, (image.height - height) / 2, width, height);
}

/// mask [stride, F, h, w] = 1 where a latent's frame is given. The first latent stands for one frame only, which fills
/// all of its places.
void fill_mask(const RunContext& run, bool first, bool last, std::int64_t video_frames,
               const TensorView& mask) {
  const Tensor host(DType::kF32, mask.shape());
  const std::int64_t stride = mask.dim(0);
  const std::int64_t frames = mask.dim(1);
  const std::int64_t plane = mask.dim(2) * mask.dim(3);
  for (std::int64_t place = 0; place < stride; ++place) {
    for (std::int64_t f = 0; f < frames; ++f) {
      const std::int64_t index = f == 0 ? 0 : (f - 1) * stride + 1 + place;
      const bool given = (first && index == 0) || (last && index == video_frames - 1);
      std::fill_n(host.as<float>() + (place * frames + f) * plane, plane, given ? 1.0f : 0.0f);
    }
  }
  run.exec.backend.upload(host, mask);
}

Tensor encode_condition(const RunContext& run, const VideoVae& vae, const VaePlan& plan, const Shape& shape,
                        const InputImages& images) {
  const VaeGeometry geometry = vae.geometry();
  const std::int64_t frames = geometry.frames(shape[1]);
  Tensor first;
  Tensor last;
  if (images.first) {
    first = resized_frame(*images.first, run.settings.size);
    dump_frame(run, "image", first);
  }
  if (images.last) {
    last = resized_frame(cropped_to_shape(*images.last, run.settings.size), run.settings.size);
    dump_frame(run, "last_image", last);
  }
  const FillFrame fill = [&](std::int64_t index, std::span<float> pixels) {
    const Tensor* given = index == 0 ? &first : index == frames - 1 ? &last : nullptr;
    if (given == nullptr || given->empty()) {
      std::fill(pixels.begin(), pixels.end(), 0.0f);
    } else {
      std::copy_n(given->as<float>(), pixels.size(), pixels.begin());
    }
  };
  Tensor condition(run.exec.backend.allocator(), DType::kF32, shape);
  const std::int64_t stride = geometry.temporal_stride;
  fill_mask(run, images.first.has_value(), images.last.has_value(), frames,
            condition.view().slice(0, 0, stride));
  encode_clip(run, vae, plan, fill, condition.view().slice(0, stride, stride + geometry.z_dim));
  if (run.dump != nullptr) run.dump->tensor(run.exec, "condition", condition);
  return condition;
}

}  // namespace

ImageToVideo::ImageToVideo()
    : Task({.name = "i2v-A14B",
            .checkpoint = "Wan2.2-I2V-A14B",
            .model_type = "i2v",
            .transformers = {"low_noise_model", "high_noise_model"},
            .vae = VaeKind::kVae21,
            .takes_image = true,
            .needs_image = true,
            .takes_last_image = true,
            .extends_prompts = true}) {}

ModelDefaults ImageToVideo::defaults() const {
  return {.size = {1280, 720},
          .frame_num = 81,
          .fps = 16,
          .sample_solver = "unipc",
          .sample_steps = 40,
          .sample_shift = 5.0,
          .sample_guide_scale = {3.5, 3.5},
          .boundary = 0.9,
          .negative_prompt = kOfficialNegativePrompt};
}

WanConfig ImageToVideo::published_transformer() const {
  return official_14b(facts().model_type, 16 + 4 + 16);  // noise, mask, image
}

std::int64_t ImageToVideo::condition_channels(const VaeGeometry& vae) const {
  return vae.temporal_stride + vae.z_dim;
}

VideoSize ImageToVideo::size_from_image(const Image& image, const VideoSize& area, const VaeGeometry& vae,
                                        const PatchSize& patch) const {
  const ImageSize size = area_size_i2v({image.width, image.height}, std::int64_t{area.width} * area.height,
                                       vae.spatial_stride, patch[1]);
  return {size.width, size.height};
}

Shape ImageToVideo::condition_shape(const VaeGeometry& vae, const Shape& latent) const {
  return {condition_channels(vae), latent[1], latent[2], latent[3]};
}

void ImageToVideo::run(Run& run, const RunInputs& inputs) const {
  SegmentInput segment;
  segment.condition = run.condition([&] {
    const VideoVae& vae = run.models().vae;
    return encode_condition(run.context(), vae, run.encode_plan(),
                            condition_shape(vae.geometry(), run.latent()), inputs.images);
  });
  if (!segment.condition.empty()) segment.conditioning.channels = segment.condition;
  run.decode(run.denoise(std::move(segment)));
}

}  // namespace wan
