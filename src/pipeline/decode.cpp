#include "pipeline/decode.h"

#include <algorithm>
#include <vector>

#include "media/frames.h"
#include "pipeline/phase_reporter.h"

namespace wan {

namespace {

/// Frames [first, first + n) of `total` into `carried`, as far as they are among its last ones.
void carry(std::span<const float> pixels, std::int64_t first, std::int64_t total, const TensorView& carried) {
  if (!carried) return;
  const std::int64_t size = carried.shape().elements() / carried.dim(0);
  const std::int64_t begin = total - carried.dim(0);
  const auto count = static_cast<std::int64_t>(pixels.size()) / size;
  for (std::int64_t i = std::max<std::int64_t>(0, begin - first); i < count; ++i)
    std::transform(pixels.data() + i * size, pixels.data() + (i + 1) * size,
                   carried.as<float>() + (first + i - begin) * size,
                   [](float value) { return std::clamp(value, -1.0f, 1.0f); });
}

}  // namespace

std::int64_t decode_into(const RunContext& run, const VideoVae& vae, const VaePlan& plan,
                         const TensorView& latents, const FramesTo& to, FrameSink* output) {
  const std::int64_t total = vae.geometry().frames(latents.dim(1));
  WAN_CHECK(to.skip < total && (!to.carried || to.carried.dim(0) <= total), kInternal,
            "[decode] {} frames, {} to skip", total, to.skip);
  PhaseReporter phase(run.on_event, Phase::kDecode, total);
  std::int64_t done = 0;
  std::vector<float> pixels;
  std::vector<std::uint8_t> levels;
  vae.decode(run.exec, latents, plan, [&](const TensorView& frames) {
    pixels.resize(static_cast<std::size_t>(frames.elements()));
    levels.resize(pixels.size());
    run.exec.backend.download(frames, TensorView(pixels.data(), DType::kF32, frames.shape()));
    const std::int64_t broken = quantize_levels(pixels, levels);
    WAN_CHECK(broken == 0, kInternal, "the VAE gave {} values that are not finite in frames {} to {}", broken,
              done + 1, done + frames.dim(0));
    carry(pixels, done, total, to.carried);
    const std::size_t frame_size = levels.size() / static_cast<std::size_t>(frames.dim(0));
    const std::int64_t dropped = std::clamp<std::int64_t>(to.skip - done, 0, frames.dim(0));
    const std::size_t begin = static_cast<std::size_t>(dropped) * frame_size;
    if (run.dump != nullptr && dropped < frames.dim(0))
      run.dump->frames(to.written + done + dropped - to.skip, std::span(pixels).subspan(begin),
                       std::span(levels).subspan(begin));
    for (std::int64_t i = dropped; i < frames.dim(0); ++i)
      output->write(levels.data() + static_cast<std::size_t>(i) * frame_size);
    done += frames.dim(0);
    phase.progress(done);
  });
  phase.finish();
  return total - to.skip;
}

}  // namespace wan
