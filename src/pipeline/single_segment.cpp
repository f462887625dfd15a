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

bool is_same_file(const fs::path& a, const fs::path& b) {
  std::error_code none;
  return fs::equivalent(a, b, none);
}

/// Where the finished latents are: finished ones that the run began with are not written again to their own file, and
/// nowhere else unless that was asked for.
fs::path keep_finished_latents(const RunContext& run, const Reached& reached, const LatentsFile& file) {
  const SavedLatents* resumed = reached.resumed;
  if (resumed == nullptr || !resumed->finished()) return keep_latents(run, reached, file);
  if (is_same_file(resumed->file, file.path)) return file.path;
  return file.requested ? keep_latents(run, reached, file) : resumed->file;
}

/// `kept` is where the latents are, now that the video is whole; they stay where someone put them or asked for them.
void release_latents(const VideoOutput& output, const fs::path& kept, const SavedLatents* resumed) {
  const LatentsFile& latents = output.latents;
  if (latents.requested) {
    WAN_CHECK(kept == latents.path, kIo, "{} is whole, but the latents could not be written to {}{}",
              output.save_file.string(), latents.path.string(),
              kept.empty() ? "" : "; they are in " + kept.string());
    return;
  }
  if (kept.empty() || (resumed != nullptr && kept == resumed->file && kept != latents.path)) return;
  std::error_code error;
  if (!fs::remove(kept, error) && error)
    log(LogLevel::kWarning, fmt::format("could not remove {}: {}", kept.string(), error.message()));
}

}  // namespace

void make_single_segment_video(const RunContext& run, const PipelineModels& models,
                               const VaePlan& decode_plan, const SegmentInput& input,
                               const VideoOutput& output, const SavedLatents* resumed) {
  const GenerationSettings& settings = run.settings;
  const DenoiseState state = denoise_segment(run, models, input, output.latents, resumed);
  const fs::path kept = keep_finished_latents(run, {state, input.condition, resumed}, output.latents);
  try {
    const VideoFormat format{settings.size.width, settings.size.height, settings.fps, settings.frame_num};
    const auto sink = make_frame_sink(output.save_file, format, to_metadata(settings), settings.encoding);
    decode_segment(run, models, decode_plan, state.slots[Scheduler::kSample], *sink);
    finish_output(run, *sink);
  } catch (const std::exception&) {  // of any kind: `on_event` is the caller's
    rethrow_with_latents(kept, current_failure());
  }
  release_latents(output, kept, resumed);
}

}  // namespace wan
