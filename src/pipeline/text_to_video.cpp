#include "pipeline/text_to_video.h"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <new>

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

/// Saves to `file` or, where that fails (a full disk), to the folder for temporary files. Empty where neither can be
/// written: a run is not given up for that.
fs::path keep_latents(const RunContext& run, const DenoiseState& state, const fs::path& file) {
  const SavedLatents latents = to_host(run, state);
  try {
    save_latents(file, latents);
    return file;
  } catch (const Error& error) {
    run.tell(Notice{error.what()});
  }
  try {
    const fs::path spare =
        fs::temp_directory_path() / fmt::format("wan-{}-{}", ::getpid(), file.filename().string());
    save_latents(spare, latents);
    run.tell(Notice{fmt::format("the latents are kept in {} instead", spare.string())});
    return spare;
  } catch (const std::exception& error) {  // filesystem_error: there is no such folder
    run.tell(Notice{fmt::format("the latents could not be kept: {}", error.what())});
    return {};
  }
}

/// Rethrows `error` after keeping what the run has reached; the message then says how to go on.
[[noreturn]] void keep_and_rethrow(const RunContext& run, const DenoiseState& state, const fs::path& file,
                                   const Error& error) {
  if (state.next_step == 0) throw Error(error.code(), fmt::format("{}; no step was finished", error.what()));
  const std::string kept = keep_latents(run, state, file).string();
  if (kept.empty()) throw Error(error.code(), fmt::format("{}; nothing could be kept", error.what()));
  throw Error(error.code(), fmt::format("{}; {} of {} steps are kept in {}: go on with --from_latents {}",
                                        error.what(), state.next_step, run.settings.steps, kept, kept));
}

/// What a person can do about memory that ran out in the middle.
Error out_of_memory() {
  return Error(ErrorCode::kOutOfMemory,
               "the machine's memory is used up; try --residency streamed or a smaller --size");
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
  } catch (const std::bad_alloc&) {
    keep_and_rethrow(run, state, latents_file, out_of_memory());
  }
  return state;
}

[[noreturn]] void rethrow_with(const fs::path& kept, const Error& error) {
  if (kept.empty()) throw error;
  throw Error(error.code(),
              fmt::format("{}; the finished latents are kept in {}: go on with --from_latents {}",
                          error.what(), kept.string(), kept.string()));
}

/// Decodes into the file at output.save_file; `kept` holds the same latents, should that fail.
void decode_segment(const RunContext& run, const TextToVideoModels& models, const VaePlan& vae_plan,
                    const TensorView& latents, const TextToVideoOutput& output, const fs::path& kept) {
  const GenerationSettings& settings = run.settings;
  try {
    if (run.dump != nullptr) run.dump->tensor(run.exec, "latents", latents);
    const VideoFormat format{settings.size.width, settings.size.height, settings.fps, settings.frame_num};
    const auto sink = make_frame_sink(output.save_file, format, to_metadata(settings));
    if (run.dump != nullptr)
      run.dump->begin_frames(settings.frame_num, settings.size.height, settings.size.width);
    decode_into(run, models.vae, vae_plan, latents, *sink);
    PhaseReporter phase(run.on_event, Phase::kEncode, settings.frame_num);
    sink->finish();
    phase.progress(settings.frame_num);
    phase.finish();
    if (run.dump != nullptr) run.dump->finish(to_metadata(settings));
  } catch (const Error& error) {
    rethrow_with(kept, error);
  } catch (const std::bad_alloc&) {
    rethrow_with(kept, out_of_memory());
  }
}

}  // namespace

void text_to_video(const RunContext& run, const TextToVideoModels& models, const VaePlan& vae_plan,
                   const Shape& latent, const TextToVideoOutput& output, const SavedLatents* resumed) {
  const DenoiseState state = denoise_segment(run, models, latent, output.latents_file, resumed);
  const TensorView latents = state.slots[Scheduler::kSample];
  const fs::path kept = keep_latents(run, state, output.latents_file);
  decode_segment(run, models, vae_plan, latents, output, kept);
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

}  // namespace wan
