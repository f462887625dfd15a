#include "pipeline/run.h"

#include <algorithm>
#include <cmath>
#include <exception>

#include "base/log.h"
#include "base/same_file.h"
#include "media/output.h"
#include "pipeline/decode.h"
#include "pipeline/phase_reporter.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

void dump_schedule(const RunContext& run, const Scheduler& scheduler) {
  if (run.dump == nullptr) return;
  const auto timesteps = scheduler.timesteps();
  const std::int64_t shape[] = {static_cast<std::int64_t>(timesteps.size())};
  // Integers where all are, as the official ones are.
  if (std::ranges::all_of(timesteps, [](double timestep) { return timestep == std::floor(timestep); }))
    run.dump->integers("timesteps", std::vector<std::int64_t>(timesteps.begin(), timesteps.end()), shape);
  else
    run.dump->floats("timesteps", std::vector<float>(timesteps.begin(), timesteps.end()), shape);
  const auto sigmas = scheduler.sigmas();
  const std::int64_t count[] = {static_cast<std::int64_t>(sigmas.size())};
  run.dump->floats("sigmas", std::vector<float>(sigmas.begin(), sigmas.end()), count);
}

/// Where the finished latents are: finished ones that the run began with are not written again to their own file, and
/// nowhere else unless that was asked for.
fs::path keep_finished_latents(const RunContext& run, const Reached& reached, const LatentsFile& file,
                               const SavedLatents* resumed) {
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
    log(LogLevel::kWarning, format_message("could not remove {}: {}", kept.string(), error.message()));
}

/// Rank 0's values, on every rank.
void broadcast_from_host(const ExecContext& exec, const TensorView& values) {
  const Tensor device(exec.backend.allocator(), values.dtype(), values.shape());
  if (exec.communicator.rank() == 0) exec.backend.upload(values, device);
  exec.communicator.broadcast(device, 0);
  exec.backend.download(device, values);
}

}  // namespace

void set_schedules(const Umt5Encoder* text_encoder, int prompts, BlockResidency& experts,
                   const std::vector<BlockId>& denoising) {
  if (text_encoder == nullptr) return experts.set_schedule(denoising);
  const std::vector<BlockId> encoding = text_encoder->schedule();
  std::vector<BlockId> schedule;
  for (int prompt = 0; prompt < prompts; ++prompt)
    schedule.insert(schedule.end(), encoding.begin(), encoding.end());
  if (&text_encoder->residency() != &experts) {
    text_encoder->residency().set_schedule(schedule);
    schedule.clear();
  }
  schedule.insert(schedule.end(), denoising.begin(), denoising.end());
  experts.set_schedule(schedule);
}

Run::Run(const RunContext& context, const PipelineModels& models, RunParts parts)
    : run_(context),
      models_(models),
      parts_(std::move(parts)),
      scheduler_(scheduler_of(run_.settings)),
      guidance_(run_.settings.guide_scale, run_.settings.boundary),
      noise_(context),
      keeper_(context, parts_.output.latents, parts_.resumed, parts_.keep) {
  if (writes() && parts_.resumed != nullptr) done_ = parts_.resumed->done;
}

Run::~Run() = default;

bool Run::is_kept() const {
  const SavedLatents* resumed = parts_.resumed;
  return resumed != nullptr &&
         (segment_ < resumed->segment || (segment_ == resumed->segment && resumed->segment_finished()));
}

const SavedLatents* Run::resumed_here() const {
  const SavedLatents* resumed = parts_.resumed;
  return resumed != nullptr && segment_ == resumed->segment ? resumed : nullptr;
}

Reached Run::reached() const {
  return {.state = state_,
          .condition = condition_,
          .segment = segment_,
          .segments = parts_.segments,
          .done = done_,
          .keeps_condition = keeps_condition_};
}

void Run::keep_where_due() {
  if (!writes()) return;
  const auto expert = [&](int step) { return guidance_.expert(scheduler_.timestep(step)); };
  const RankRest rest(run_.exec.communicator);
  done_.move_to(keeper_.after_step(reached(), expert(state_.next_step - 1) != expert(state_.next_step)));
}

void Run::fail_between_steps(const Error& error) const {
  if (finished_any_) rethrow_with_latents(kept_, error);
  throw before_first_step(error, parts_.resumed);
}

TensorView Run::resumed_condition() const {
  return parts_.resumed != nullptr ? parts_.resumed->condition.view() : TensorView();
}

void Run::before_steps(const std::function<void()>& work) const {
  try {
    work();
  } catch (...) {
    fail_between_steps(current_failure());
  }
}

Tensor Run::condition(const std::function<Tensor()>& make) {
  const SavedLatents* here = resumed_here();
  if (is_kept() && here == nullptr) return {};
  Tensor condition;
  before_steps([&] {
    if (here == nullptr) {
      condition = make();
    } else if (!here->condition.empty()) {
      condition = Tensor(run_.exec.backend.allocator(), DType::kF32, here->condition.shape());
      run_.exec.backend.upload(here->condition, condition);
    }
  });
  return condition;
}

void Run::restore_segment(bool own_noise) {
  const SavedLatents& resumed = *parts_.resumed;
  if (!own_noise) noise_.skip(parts_.latent);  // drawn by the earlier run
  if (segment_ < resumed.segment) {
    const TensorView sample = state_.slots[Scheduler::kSample];
    if (writes()) {
      run_.exec.backend.upload(resumed.done[static_cast<std::size_t>(segment_)], sample);
      resumed.done.check_read();
    }
    run_.exec.communicator.broadcast(sample, 0);
    state_.next_step = scheduler_.steps();
    return;
  }
  restore(run_, resumed, state_);
}

void Run::begin(int first_step) {
  if (text_) return;
  const SharedNames of_the_video(run_.dump);
  dump_schedule(run_, scheduler_);
  const bool more_segments = segment_ + 1 < parts_.segments;
  const auto timesteps =
      scheduler_.timesteps().subspan(more_segments ? 0 : static_cast<std::size_t>(first_step));
  const bool needs_negative = std::any_of(timesteps.begin(), timesteps.end(), [&](double timestep) {
    return guidance_.needs_unconditional(timestep);
  });
  std::vector<BlockId> denoising = denoise_schedule(scheduler_, guidance_, models_.experts, first_step);
  for (int later = segment_ + 1; later < parts_.segments; ++later) {
    const std::vector<BlockId> whole = denoise_schedule(scheduler_, guidance_, models_.experts, 0);
    denoising.insert(denoising.end(), whole.begin(), whole.end());
  }
  const int prompts = needs_negative ? 2 : 1;
  set_schedules(models_.text_encoder, writes() ? prompts : 0, models_.residency, denoising);
  const WanTransformer* expert = models_.experts[0] != nullptr ? models_.experts[0] : models_.experts[1];
  contexts_.emplace(static_cast<int>(models_.experts.size()), kBranches);
  try {
    text_ = encode_text(run_, models_.tokenizer, models_.text_encoder,
                        {expert->config().text_len, expert->config().text_dim}, needs_negative);
    // What ranks hold of the text encoder for one another has gone before any of them takes memory for the steps.
    run_.exec.communicator.barrier();
  } catch (...) {
    fail_between_steps(current_failure());
  }
}

TensorView Run::denoise(SegmentInput input) {
  const bool last = segment_ + 1 == parts_.segments;
  condition_ = std::move(input.condition);
  keeps_condition_ = input.keeps_condition;
  state_ = make_denoise_state(run_.exec, scheduler_, parts_.latent);
  if (parts_.resumed != nullptr && segment_ <= parts_.resumed->segment) {
    restore_segment(input.noise_seed.has_value());
  } else {
    if (input.noise_seed)
      noise_.draw_rounded(*input.noise_seed, state_.slots[Scheduler::kSample]);
    else
      noise_.draw(state_.slots[Scheduler::kSample]);
    if (run_.dump != nullptr) run_.dump->tensor(run_.exec, "noise", state_.slots[Scheduler::kSample]);
  }
  const int began = state_.next_step;
  if (!is_kept()) {
    begin(began);
    try {
      wan::denoise(
          run_,
          {.scheduler = scheduler_,
           .guidance = guidance_,
           .experts = models_.experts,
           .text = *text_,
           .contexts = *contexts_,
           .conditioning = {&input.conditioning, input.negative ? &*input.negative : &input.conditioning},
           .given_frames = input.given_frames,
           .layout = input.layout,
           .after_step = [this] { keep_where_due(); }},
          state_);
    } catch (...) {  // of any kind: `on_event` is the caller's
      const Error error = current_failure();
      if (!writes()) throw error;
      if (state_.next_step == began) fail_between_steps(error);
      const RankRest rest(run_.exec.communicator);
      keeper_.keep_and_rethrow(reached(), error);
    }
  } else if (parts_.resumed->finished()) {
    set_schedules(models_.text_encoder, 0, models_.residency, {});
    run_.exec.communicator.barrier();  // no rank holds blocks for another any more
  }
  if (last) {  // frames have the room
    contexts_.reset();
    text_.reset();
  }
  // The file that the run goes on from has all that is only decoded again.
  const bool to_do_again = is_kept() && !(last && parts_.resumed->finished());
  if (writes() && to_do_again) kept_ = parts_.resumed->file;
  if (writes() && !to_do_again) {
    const RankRest rest(run_.exec.communicator);
    kept_ = keep_finished_latents(run_, reached(), parts_.output.latents, parts_.resumed);
    keeper_.replace_with(kept_);
    done_.move_to(kept_);
  }
  finished_any_ = true;
  return state_.slots[Scheduler::kSample];
}

void Run::open_output() {
  const GenerationSettings& settings = run_.settings;
  const VideoFormat format{settings.size.width, settings.size.height, settings.fps, settings.frame_num};
  sink_ = make_frame_sink(parts_.output.save_file, format, to_metadata(settings), settings.encoding,
                          parts_.sound);
}

Tensor Run::decode(const TensorView& latents, const DecodedFrames& frames) {
  Tensor carried;
  if (frames.carry > 0)
    carried = Tensor(DType::kF32, {frames.carry, run_.settings.size.height, run_.settings.size.width, 3});
  try {
    if (writes()) {
      const VideoSize& size = run_.settings.size;
      const bool first = !sink_;
      if (first) open_output();
      if (run_.dump != nullptr) {
        const TensorView sample = state_.slots[Scheduler::kSample];
        run_.dump->tensor(run_.exec, "latents", sample);
        if (latents.shape() != sample.shape()) run_.dump->tensor(run_.exec, "decode_latents", latents);
        const SharedNames of_the_video(run_.dump);
        if (first) run_.dump->begin_frames(run_.settings.frame_num, size.height, size.width);
      }
    }
    written_ += decode_into(run_, models_.vae, parts_.decode, latents,
                            {.skip = frames.skip,
                             .first_shown = frames.first_shown,
                             .written = written_,
                             .most = frames.most,
                             .carried = carried,
                             .dumps_all = latents.dim(1) != parts_.latent[1]},
                            sink_.get());
    if (frames.carry > 0 && run_.exec.communicator.size() > 1)
      for (std::int64_t i = 0; i < frames.carry; ++i)
        broadcast_from_host(run_.exec, carried.view().select(0, i));
    // Whoever keeps the run's state has those that were finished before.
    if (writes() && segment_ + 1 < parts_.segments && done_.size() == static_cast<std::size_t>(segment_)) {
      const TensorView sample = state_.slots[Scheduler::kSample];
      Tensor host(DType::kF32, sample.shape());
      run_.exec.backend.download(sample, host);
      done_.add(std::move(host));
    }
  } catch (...) {  // of any kind: `on_event` is the caller's
    rethrow_with_latents(kept_, current_failure());
  }
  ++segment_;
  return carried;
}

void Run::finish() {
  if (!writes()) return;
  try {
    PhaseReporter phase(run_.on_event, Phase::kEncode, run_.settings.frame_num);
    sink_->finish();
    phase.progress(run_.settings.frame_num);
    phase.finish();
    if (run_.dump != nullptr) run_.dump->finish(to_metadata(run_.settings));
  } catch (...) {
    rethrow_with_latents(kept_, current_failure());
  }
  release_latents(parts_.output, kept_, parts_.resumed);
  keeper_.finish(kept_);
}

}  // namespace wan
