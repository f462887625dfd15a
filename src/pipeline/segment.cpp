#include "pipeline/segment.h"

#include <algorithm>
#include <exception>

#include "pipeline/decode.h"

namespace wan {

namespace {

void draw_noise(const RunContext& run, const TensorView& sample) {
  const RandomSpec& spec = run.settings.rng;
  if (spec.kind == RandomKind::kTorchCuda &&
      run.exec.backend.draw_cuda_normals({.seed = static_cast<std::uint64_t>(run.settings.seed),
                                          .multiprocessors = spec.grid.multiprocessors,
                                          .threads_per_multiprocessor = spec.grid.threads_per_multiprocessor,
                                          .out = sample}))
    return;
  const Tensor host(DType::kF32, sample.shape());
  const auto generator = make_random_generator(spec, run.settings.seed);
  generator->normal({host.as<float>(), static_cast<std::size_t>(host.elements())});
  run.exec.backend.upload(host, sample);
}

/// Drawn on one rank and broadcast, so that every rank works on the same latent.
void fill_noise(const RunContext& run, const TensorView& sample) {
  if (run.exec.communicator.rank() == 0) draw_noise(run, sample);
  run.exec.communicator.broadcast(sample, 0);
  if (run.dump != nullptr) run.dump->tensor(run.exec, "noise", sample);
}

void dump_schedule(const RunContext& run, const Scheduler& scheduler) {
  if (run.dump == nullptr) return;
  const auto timesteps = scheduler.timesteps();
  const std::int64_t shape[] = {static_cast<std::int64_t>(timesteps.size())};
  run.dump->integers("timesteps", timesteps, shape);
  const auto sigmas = scheduler.sigmas();
  const std::int64_t count[] = {static_cast<std::int64_t>(sigmas.size())};
  run.dump->floats("sigmas", std::vector<float>(sigmas.begin(), sigmas.end()), count);
}

}  // namespace

void set_schedules(const Umt5Encoder& text_encoder, int prompts, BlockResidency& experts,
                   const std::vector<BlockId>& denoising) {
  const std::vector<BlockId> encoding = text_encoder.schedule();
  std::vector<BlockId> schedule;
  for (int prompt = 0; prompt < prompts; ++prompt)
    schedule.insert(schedule.end(), encoding.begin(), encoding.end());
  if (&text_encoder.residency() != &experts) {
    text_encoder.residency().set_schedule(schedule);
    schedule.clear();
  }
  schedule.insert(schedule.end(), denoising.begin(), denoising.end());
  experts.set_schedule(schedule);
}

DenoiseState denoise_segment(const RunContext& run, const PipelineModels& models, const SegmentInput& input,
                             const LatentsFile& latents_file, const SavedLatents* resumed) {
  const GenerationSettings& settings = run.settings;
  const Scheduler scheduler = make_scheduler(settings.solver, settings.steps, settings.shift);
  const Guidance guidance(settings.guide_scale, settings.boundary);
  DenoiseState state = make_denoise_state(run.exec, scheduler, input.latent);
  if (resumed != nullptr) {
    restore(run, *resumed, state);
    if (resumed->finished()) {
      set_schedules(models.text_encoder, 0, models.residency, {});
      return state;
    }
  } else {
    fill_noise(run, state.slots[Scheduler::kSample]);
  }
  dump_schedule(run, scheduler);

  const auto timesteps = scheduler.timesteps().subspan(static_cast<std::size_t>(state.next_step));
  const bool needs_negative = std::any_of(timesteps.begin(), timesteps.end(), [&](std::int64_t timestep) {
    return guidance.needs_unconditional(timestep);
  });
  set_schedules(models.text_encoder, needs_negative ? 2 : 1, models.residency,
                denoise_schedule(scheduler, guidance, models.experts, state.next_step));
  const WanTransformer* expert = models.experts[0] != nullptr ? models.experts[0] : models.experts[1];
  const EncodedText text = run_before_first_step(resumed, [&] {
    return encode_text(run, models.tokenizer, models.text_encoder,
                       static_cast<int>(expert->config().text_len), needs_negative);
  });
  try {
    denoise(run,
            {.scheduler = scheduler,
             .guidance = guidance,
             .experts = models.experts,
             .text = text,
             .conditioning = input.conditioning,
             .given_frames = input.given_frames},
            state);
  } catch (const std::exception&) {  // of any kind: `on_event` is the caller's
    keep_and_rethrow(run, {state, input.condition, resumed}, latents_file, current_failure());
  }
  return state;
}

void decode_segment(const RunContext& run, const PipelineModels& models, const VaePlan& plan,
                    const TensorView& latents, FrameSink& output) {
  if (run.dump != nullptr) {
    run.dump->tensor(run.exec, "latents", latents);
    run.dump->begin_frames(run.settings.frame_num, run.settings.size.height, run.settings.size.width);
  }
  decode_into(run, models.vae, plan, latents, output);
}

}  // namespace wan
