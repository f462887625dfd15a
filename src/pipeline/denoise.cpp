#include "pipeline/denoise.h"

#include <memory>

#include "ops/copy.h"
#include "ops/fill_zero.h"
#include "ops/finite.h"
#include "ops/linear_combination.h"
#include "parallel/pass_sharing.h"
#include "pipeline/phase_reporter.h"

namespace wan {

namespace {

/// One run's loop; its members live as long as it does.
class DenoiseLoop {
 public:
  DenoiseLoop(const RunContext& run, const DenoiseInput& input, DenoiseState& state);

  void run();

 private:
  Expert expert_of(int step) const { return in_.guidance.expert(in_.scheduler.timestep(step)); }
  const WanTransformer& transformer(Expert expert) const {
    return *in_.experts[static_cast<std::size_t>(expert)];
  }
  Phase phase_of(Expert expert) const;
  int steps_of(Expert expert, int first) const;
  void restore_given_frames();
  void predict(int step);
  void run_passes(Expert expert, double timestep, int branches);
  void guide(int step);
  void update(int step);
  TextContext& context(Expert expert, Branch branch);
  const TensorView sample() const { return state_.slots[Scheduler::kSample]; }
  const TensorView velocity() const { return state_.slots[Scheduler::kVelocity]; }

  const RunContext& run_;
  const DenoiseInput& in_;
  DenoiseState& state_;
  TokenLayout layout_;
  Tensor rope_;
  std::array<Tensor, kBranches> predictions_;
};

const WanTransformer& any_of(const Experts& experts) {
  return experts[0] != nullptr ? *experts[0] : *experts[1];
}

TokenLayout layout_of(const Communicator& ranks, const DenoiseInput& input, const Shape& latent) {
  if (input.layout) return *input.layout;
  const PatchSize& patch = any_of(input.experts).config().patch;
  const std::int64_t given = input.given_frames ? input.given_frames.dim(1) : 0;
  WAN_CHECK(given % patch[0] == 0, kInternal, "[denoise] {} given latent frames, patches of {}", given,
            patch[0]);
  return TokenLayout::video(latent[1] / patch[0], latent[2] / patch[1], latent[3] / patch[2], ranks.size(),
                            ranks.rank(), given / patch[0]);
}

DenoiseLoop::DenoiseLoop(const RunContext& run, const DenoiseInput& input, DenoiseState& state)
    : run_(run),
      in_(input),
      state_(state),
      layout_(layout_of(run.transformer_exec.communicator, input, sample().shape())),
      rope_(any_of(input.experts).make_rope_table(run.transformer_exec, layout_)) {
  for (Tensor& prediction : predictions_)
    prediction = Tensor(run.exec.backend.allocator(), DType::kF32, sample().shape());
  restore_given_frames();
}

void DenoiseLoop::run() {
  std::unique_ptr<PhaseReporter> phase;
  Expert current{};
  std::int64_t done = 0;
  for (int step = state_.next_step; step < in_.scheduler.steps(); ++step) {
    const Expert expert = expert_of(step);
    if (!phase || expert != current) {
      if (phase) phase->finish();
      current = expert;
      done = 0;
      phase = std::make_unique<PhaseReporter>(run_.on_event, phase_of(expert), steps_of(expert, step));
    }
    run_.check_cancelled();
    predict(step);
    guide(step);
    update(step);
    state_.next_step = step + 1;
    if (in_.after_step && state_.next_step < in_.scheduler.steps()) in_.after_step();
    phase->step(++done, step + 1, in_.scheduler.steps(), in_.scheduler.timestep(step));
  }
  if (phase) phase->finish();
}

Phase DenoiseLoop::phase_of(Expert expert) const {
  if (in_.experts[0] == nullptr || in_.experts[1] == nullptr) return Phase::kDenoise;
  return expert == Expert::kHighNoise ? Phase::kHighNoise : Phase::kLowNoise;
}

int DenoiseLoop::steps_of(Expert expert, int first) const {
  int count = 0;
  for (int step = first; step < in_.scheduler.steps() && expert_of(step) == expert; ++step) ++count;
  return count;
}

void DenoiseLoop::restore_given_frames() {
  if (!in_.given_frames) return;
  copy(run_.exec, {in_.given_frames, sample().slice(1, 0, in_.given_frames.dim(1))});
}

TextContext& DenoiseLoop::context(Expert expert, Branch branch) {
  TextContext& context = in_.contexts.at(static_cast<int>(expert), branch);
  if (context.embedded.empty())
    transformer(expert).embed_text(run_.transformer_exec,
                                   branch == kPrompt ? in_.text.prompt : in_.text.negative, context);
  return context;
}

void DenoiseLoop::predict(int step) {
  const double timestep = in_.scheduler.timestep(step);
  const int branches = in_.guidance.needs_unconditional(timestep) ? 2 : 1;
  run_passes(expert_of(step), timestep, branches);
  if (run_.dump == nullptr) return;
  run_.dump->step_tensor(run_.exec, step, "input", sample());
  run_.dump->step_timestep(step, timestep);
  run_.dump->step_tensor(run_.exec, step, "cond", predictions_[kPrompt]);
  if (branches > 1) run_.dump->step_tensor(run_.exec, step, "uncond", predictions_[kNegative]);
}

/// Fills the predictions of the first `branches` on every rank.
void DenoiseLoop::run_passes(Expert expert, double timestep, int branches) {
  Communicator& all = run_.exec.communicator;
  std::vector<GuidanceBranch> passes;
  for (int i = 0; i < branches; ++i) {
    if (!runs_pass(run_.layout, all.rank(), i, branches)) continue;
    const auto branch = static_cast<Branch>(i);
    passes.push_back({&context(expert, branch), in_.conditioning[branch], predictions_[branch]});
  }
  const double timesteps[] = {timestep, 0.0};  // by the layout's modulation rows
  transformer(expert).forward(run_.transformer_exec,
                              {.latent = sample(), .timesteps = timesteps, .layout = layout_, .rope = rope_},
                              passes);
  share_results(all, run_.layout, std::span(predictions_).first(static_cast<std::size_t>(branches)));
}

void DenoiseLoop::guide(int step) {
  const double timestep = in_.scheduler.timestep(step);
  run_.exec.enter("the guidance");
  const GuidanceCoefficients guided = in_.guidance.coefficients(timestep);
  LinearCombinationArgs args{.terms = {{guided.conditional, predictions_[kPrompt]}}, .out = velocity()};
  if (in_.guidance.needs_unconditional(timestep))
    args.terms.push_back({guided.unconditional, predictions_[kNegative]});
  linear_combination(run_.exec, args);
  const std::int64_t broken = count_non_finite(run_.exec, velocity());
  run_.exec.communicator
      .check();  // where another rank has failed, the device is through with what it did not get
  WAN_CHECK(
      broken == 0, kInternal,
      "step {} of {} ({}, timestep {}) predicted {} values that are not finite; the weights are "
      "damaged, or the precision does not suffice: try `precision` fp32; `check` names the layer and op",
      step + 1, in_.scheduler.steps(), phase_name(phase_of(expert_of(step))), timestep, broken);
  if (run_.dump != nullptr) run_.dump->step_tensor(run_.exec, step, "guided", velocity());
}

void DenoiseLoop::update(int step) {
  run_.exec.enter("the sampler");
  for (const SlotUpdate& update : in_.scheduler.updates(step)) {
    LinearCombinationArgs args{.terms = {}, .out = state_.slots[static_cast<std::size_t>(update.target)]};
    for (const SlotTerm& term : update.terms)
      args.terms.push_back({term.coefficient, state_.slots[static_cast<std::size_t>(term.slot)]});
    linear_combination(run_.exec, args);
  }
  restore_given_frames();
  if (run_.dump != nullptr) run_.dump->step_tensor(run_.exec, step, "latent", sample());
}

}  // namespace

DenoiseState make_denoise_state(ExecContext& ctx, const Scheduler& scheduler, const Shape& latent) {
  DenoiseState state;
  for (int slot = 0; slot < scheduler.slots(); ++slot) {
    state.slots.emplace_back(ctx.backend.allocator(), DType::kF32, latent);
    fill_zero(ctx, state.slots.back());  // history that no step has written is kept with the rest
  }
  return state;
}

std::vector<BlockId> denoise_schedule(const Scheduler& scheduler, const Guidance& guidance,
                                      const Experts& experts, int first_step) {
  std::vector<BlockId> schedule;
  for (int step = first_step; step < scheduler.steps(); ++step) {
    const auto expert = static_cast<int>(guidance.expert(scheduler.timestep(step)));
    const auto layers = static_cast<int>(experts[static_cast<std::size_t>(expert)]->config().num_layers);
    for (int layer = 0; layer < layers; ++layer) schedule.push_back({expert, layer});
  }
  return schedule;
}

void denoise(const RunContext& run, const DenoiseInput& input, DenoiseState& state) {
  DenoiseLoop(run, input, state).run();
}

}  // namespace wan
