#include "pipeline/single_segment.h"

#include <exception>

#include "base/log.h"
#include "media/output.h"
#include "pipeline/phase_reporter.h"
#include "pipeline/recovery.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

void finish_output(const RunContext& run, FrameSink& sink) {
  PhaseReporter phase(run.on_event, Phase::kEncode, run.settings.frame_num);
  sink.finish();
  phase.progress(run.settings.frame_num);
  phase.finish();
  if (run.dump != nullptr) run.dump->finish(to_metadata(run.settings));
}

/// `kept` is where the latents are, now that the video is whole; they stay only where that was asked for.
void release_latents(const VideoOutput& output, const fs::path& kept) {
  if (output.keep_latents) {
    WAN_CHECK(kept == output.latents_file, kIo, "{} is whole, but the latents could not be written to {}{}",
              output.save_file.string(), output.latents_file.string(),
              kept.empty() ? "" : "; they are in " + kept.string());
    return;
  }
  if (kept.empty()) return;
  std::error_code error;
  if (!fs::remove(kept, error) && error)
    log(LogLevel::kWarning, fmt::format("could not remove {}: {}", kept.string(), error.message()));
}

}  // namespace

void make_single_segment_video(const RunContext& run, const PipelineModels& models,
                               const VaePlan& decode_plan, const SegmentInput& input,
                               const VideoOutput& output, const SavedLatents* resumed) {
  const GenerationSettings& settings = run.settings;
  const DenoiseState state = denoise_segment(run, models, input, output.latents_file, resumed);
  const fs::path kept = keep_latents(run, {state, input.condition}, output.latents_file);
  try {
    const VideoFormat format{settings.size.width, settings.size.height, settings.fps, settings.frame_num};
    const auto sink = make_frame_sink(output.save_file, format, to_metadata(settings));
    decode_segment(run, models, decode_plan, state.slots[Scheduler::kSample], *sink);
    finish_output(run, *sink);
  } catch (const std::exception&) {  // of any kind: `on_event` is the caller's
    rethrow_with_latents(kept, current_failure());
  }
  release_latents(output, kept);
}

}  // namespace wan
