#include "pipeline/input_images.h"

#include <algorithm>

#include "ops/finite.h"
#include "pipeline/phase_reporter.h"

namespace wan {

Tensor frame_of(const Image& image) {
  Tensor frame(DType::kF32, {image.height, image.width, 3});
  to_unit_range(image.rgb, {frame.as<float>(), static_cast<std::size_t>(frame.elements())});
  return frame;
}

void dump_frame(const RunContext& run, const char* name, const Tensor& frame) {
  if (run.dump == nullptr) return;
  const std::int64_t height = frame.shape()[0];
  const std::int64_t width = frame.shape()[1];
  std::vector<float> planes(static_cast<std::size_t>(frame.elements()));
  const float* pixels = frame.as<float>();
  for (std::int64_t i = 0; i < height * width; ++i)
    for (std::int64_t c = 0; c < 3; ++c)
      planes[static_cast<std::size_t>(c * height * width + i)] = pixels[3 * i + c];
  const std::int64_t shape[] = {3, height, width};
  run.dump->floats(name, planes, shape);
}

void encode_clip(const RunContext& run, const VideoVae& vae, const VaePlan& plan, const FillFrame& fill,
                 const TensorView& latents, FramesOf frames_of) {
  const bool fills = frames_of == FramesOf::kEveryRank || run.exec.communicator.rank() == 0;
  PhaseReporter phase(run.on_event, Phase::kImage, vae.geometry().frames(latents.dim(1)));
  std::int64_t done = 0;
  std::vector<float> host;
  const FrameSource source = [&](std::int64_t first, const TensorView& frames) {
    host.resize(static_cast<std::size_t>(frames.elements()));
    const std::size_t size = host.size() / static_cast<std::size_t>(frames.dim(0));
    for (std::int64_t i = 0; i < frames.dim(0) && fills; ++i)
      fill(first + i, std::span(host).subspan(static_cast<std::size_t>(i) * size, size));
    if (fills) run.exec.backend.upload(TensorView(host.data(), DType::kF32, frames.shape()), frames);
    if (frames_of == FramesOf::kFirstRank) run.exec.communicator.broadcast(frames, 0);
    if (first <= done) return;  // tiles ask for the same frames again
    done = first;
    phase.progress(done);
  };
  vae.encode(run.exec, source, plan, latents);
  run.exec.workspace.release();  // the passes that follow take other memory, and less
  const std::int64_t broken = count_non_finite(run.exec, latents);
  WAN_CHECK(broken == 0, kInternal,
            "the VAE encoded the image into {} values that are not finite; its file is damaged", broken);
  phase.progress(vae.geometry().frames(latents.dim(1)));
  phase.finish();
}

}  // namespace wan
