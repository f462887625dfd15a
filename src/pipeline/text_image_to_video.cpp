#include "pipeline/text_image_to_video.h"

#include <algorithm>

#include "media/image_size.h"
#include "media/resample.h"

namespace wan {

namespace {

Image cover(const Image& image, const VideoSize& size) {
  const CoverCrop place = cover_crop({image.width, image.height}, {size.width, size.height});
  return crop(resize_lanczos(image, place.resized.width, place.resized.height), place.x, place.y, size.width,
              size.height);
}

Tensor encode_condition(const RunContext& run, const VideoVae& vae, const VaePlan& plan, const Shape& latent,
                        const Image& image) {
  const Tensor frame = frame_of(cover(image, run.settings.size));
  dump_frame(run, "image", frame);
  Tensor condition(run.exec.backend.allocator(), DType::kF32, first_frame_shape(latent));
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

Shape first_frame_shape(const Shape& latent) {
  return {latent[0], 1, latent[2], latent[3]};
}

void text_image_to_video(const RunContext& run, const PipelineModels& models, const VaePlan& encode_plan,
                         const VaePlan& decode_plan, const Shape& latent, const InputImages& images,
                         const VideoOutput& output, const SavedLatents* resumed) {
  SegmentInput input{.latent = latent, .condition = {}, .conditioning = {}, .given_frames = {}};
  if (resumed == nullptr) {
    input.condition = run_before_first_step(
        resumed, [&] { return encode_condition(run, models.vae, encode_plan, latent, *images.first); });
  } else if (!resumed->finished()) {
    input.condition = restore_condition(run, *resumed);
  }
  if (!input.condition.empty()) input.given_frames = input.condition;
  make_single_segment_video(run, models, decode_plan, input, output, resumed);
}

}  // namespace wan
