#include "pipeline/text_to_video.h"

#include <algorithm>
#include <memory>

#include "base/log.h"
#include "media/output.h"
#include "pipeline/phase_reporter.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

void fill_noise(const RunContext& run, const TensorView& sample) {
  const Tensor host(DType::kF32, sample.shape());
  // Drawn on one rank and broadcast, so that every rank works on the same latent.
  if (run.exec.communicator.rank() == 0) {
    const auto generator = make_random_generator(run.settings.rng, run.settings.seed);
    generator->normal({host.as<float>(), static_cast<std::size_t>(host.elements())});
  }
  run.exec.backend.upload(host, sample);
  run.exec.communicator.broadcast(sample, 0);
  if (run.dump != nullptr) run.dump->tensor(run.exec, "noise", sample);
}

SavedLatents to_host(const RunContext& run, const DenoiseState& state) {
  SavedLatents saved;
  saved.next_step = state.next_step;
  saved.settings = run.settings;
  for (const Tensor& slot : state.slots) {
    saved.slots.emplace_back(DType::kF32, slot.shape());
    run.exec.backend.download(slot, saved.slots.back());
  }
  return saved;
}

/// Rethrows `error` after keeping what the run has reached; the message then says how to go on.
[[noreturn]] void keep_and_rethrow(const RunContext& run, const DenoiseState& state, const fs::path& file,
                                   const Error& error) {
  if (state.next_step == 0) throw Error(error.code(), fmt::format("{}; no step was finished", error.what()));
  try {
    save_latents(file, to_host(run, state));
  } catch (const Error& saving) {
    throw Error(error.code(),
                fmt::format("{}; the latents could not be kept: {}", error.what(), saving.what()));
  }
  throw Error(error.code(),
              fmt::format("{}; {} of {} steps are kept in {}: go on with --from_latents {}", error.what(),
                          state.next_step, run.settings.steps, file.string(), file.string()));
}

/// Slots that an update writes before anything reads them need no value; saved ones get theirs back.
void restore(const RunContext& run, const SavedLatents& resumed, DenoiseState& state) {
  const std::size_t expected = resumed.finished() ? 1 : state.slots.size();
  WAN_CHECK(
      resumed.slots.size() == expected && resumed.slots[0].shape() == state.slots[0].shape(), kBadFile,
      "the kept latents hold {} tensors of {}, expected {} of {}: they belong to another model or solver",
      resumed.slots.size(), resumed.slots[0].shape().to_string(), expected,
      state.slots[0].shape().to_string());
  for (std::size_t slot = 0; slot < resumed.slots.size(); ++slot)
    run.exec.backend.upload(resumed.slots[slot], state.slots[slot]);
  state.next_step = resumed.finished() ? run.settings.steps : resumed.next_step;
}

std::vector<BlockId> whole_schedule(const TextToVideoModels& models, int prompts,
                                    std::vector<BlockId> denoising) {
  std::vector<BlockId> schedule;
  const auto layers = static_cast<int>(models.text_encoder.config().num_layers);
  for (int prompt = 0; prompt < prompts; ++prompt)
    for (int layer = 0; layer < layers; ++layer) schedule.push_back({models.text_encoder_group, layer});
  schedule.insert(schedule.end(), denoising.begin(), denoising.end());
  return schedule;
}

void dump_schedule(const RunContext& run, const Scheduler& scheduler) {
  if (run.dump == nullptr) return;
  const auto timesteps = scheduler.timesteps();
  const std::int64_t shape[] = {static_cast<std::int64_t>(timesteps.size())};
  run.dump->integers("timesteps", timesteps, shape);
  const auto sigmas = scheduler.sigmas();
  run.dump->floats("sigmas", std::vector<float>(sigmas.begin(), sigmas.end()));
}

/// The finished latent of the segment, on the device.
DenoiseState denoise_segment(const RunContext& run, const TextToVideoModels& models, const Shape& latent,
                             const fs::path& latents_file, const SavedLatents* resumed) {
  const GenerationSettings& settings = run.settings;
  const Scheduler scheduler = make_scheduler(settings.solver, settings.steps, settings.shift);
  const Guidance guidance(settings.guide_scale, settings.boundary);
  DenoiseState state = make_denoise_state(run.exec, scheduler, latent);
  if (resumed != nullptr) {
    restore(run, *resumed, state);
    if (resumed->finished()) return state;
  } else {
    fill_noise(run, state.slots[Scheduler::kSample]);
  }
  dump_schedule(run, scheduler);

  const auto timesteps = scheduler.timesteps().subspan(static_cast<std::size_t>(state.next_step));
  const bool needs_negative = std::any_of(timesteps.begin(), timesteps.end(), [&](std::int64_t timestep) {
    return guidance.needs_unconditional(timestep);
  });
  models.residency.set_schedule(
      whole_schedule(models, needs_negative ? 2 : 1,
                     denoise_schedule(scheduler, guidance, models.experts, state.next_step)));
  const WanTransformer* expert = models.experts[0] != nullptr ? models.experts[0] : models.experts[1];
  const EncodedText text = encode_text(run, models.tokenizer, models.text_encoder,
                                       static_cast<int>(expert->config().text_len), needs_negative);
  try {
    denoise(run, scheduler, guidance, models.experts, text, Conditioning{}, state);
  } catch (const Error& error) {
    keep_and_rethrow(run, state, latents_file, error);
  }
  return state;
}

void decode_segment(const RunContext& run, const TextToVideoModels& models, const VaePlan& vae_plan,
                    const TensorView& latents, const TextToVideoOutput& output, FrameSink& sink) {
  try {
    decode_into(run, models.vae, vae_plan, latents, sink);
    PhaseReporter phase(run.on_event, Phase::kEncode, run.settings.frame_num);
    sink.finish();
    phase.progress(run.settings.frame_num);
    phase.finish();
  } catch (const Error& error) {
    throw Error(error.code(),
                fmt::format("{}; the finished latents are kept in {}: go on with --from_latents {}",
                            error.what(), output.latents_file.string(), output.latents_file.string()));
  }
}

}  // namespace

void text_to_video(const RunContext& run, const TextToVideoModels& models, const VaePlan& vae_plan,
                   const Shape& latent, const TextToVideoOutput& output, const SavedLatents* resumed) {
  const GenerationSettings& settings = run.settings;
  const DenoiseState state = denoise_segment(run, models, latent, output.latents_file, resumed);
  const TensorView latents = state.slots[Scheduler::kSample];
  if (run.dump != nullptr) run.dump->tensor(run.exec, "latents", latents);
  save_latents(output.latents_file, to_host(run, state));

  const Metadata metadata = to_metadata(settings);
  const VideoFormat format{settings.size.width, settings.size.height, settings.fps, settings.frame_num};
  const auto sink = make_frame_sink(output.save_file, format, metadata);
  if (run.dump != nullptr)
    run.dump->begin_frames(settings.frame_num, settings.size.height, settings.size.width);
  decode_segment(run, models, vae_plan, latents, output, *sink);
  if (run.dump != nullptr) run.dump->finish(metadata);
  if (output.keep_latents) return;
  std::error_code error;
  if (!fs::remove(output.latents_file, error) && error)
    log(LogLevel::kWarning,
        fmt::format("could not remove {}: {}", output.latents_file.string(), error.message()));
}

}  // namespace wan
