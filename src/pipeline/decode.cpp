#include "pipeline/decode.h"

#include <vector>

#include "media/frames.h"
#include "pipeline/phase_reporter.h"

namespace wan {

void decode_into(const RunContext& run, const VideoVae& vae, const VaePlan& plan, const TensorView& latents,
                 FrameSink& output) {
  const std::int64_t total = vae.geometry().frames(latents.dim(1));
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
    if (run.dump != nullptr) run.dump->frames(done, pixels, levels);
    const std::size_t frame_size = levels.size() / static_cast<std::size_t>(frames.dim(0));
    for (std::int64_t i = 0; i < frames.dim(0); ++i)
      output.write(levels.data() + static_cast<std::size_t>(i) * frame_size);
    done += frames.dim(0);
    phase.progress(done);
  });
  phase.finish();
}

}  // namespace wan
