#include "tasks/s2v/clip_loop.h"

#include <algorithm>

#include "base/error.h"
#include "models/wan/s2v/audio_encoder.h"
#include "ops/copy.h"
#include "ops/fill_zero.h"
#include "tasks/clips.h"
#include "tasks/s2v/pictures.h"

namespace wan {

namespace {

/// Of the history that a video begins with, where it begins with the picture itself.
constexpr std::int64_t kReferenceFrames = 6;

/// As long as it lives the dump gets what the sound and the history become for the transformer, of the branch that hears.
class TokenDump {
 public:
  explicit TokenDump(const RunContext& run) : exec_(run.transformer_exec), taps_(exec_.taps) {
    if (run.dump == nullptr) return;
    exec_.taps = [this, &run](std::string_view name, const TensorView& output) {
      for (const char* const dumped : {"audio_tokens", "audio_global", "motion_tokens"})
        if (name.ends_with(dumped)) run.dump->tensor(exec_, dumped, output);
      if (taps_) taps_(name, output);
    };
  }
  ~TokenDump() { exec_.taps = std::move(taps_); }
  TokenDump(const TokenDump&) = delete;
  TokenDump& operator=(const TokenDump&) = delete;

 private:
  ExecContext& exec_;
  Taps taps_;
};

}  // namespace

ClipLoop::ClipLoop(Run& run, const RunInputs& inputs)
    : run_(run),
      context_(run.context()),
      inputs_(inputs),
      speech_(*context_.settings.speech),
      branches_(guidance_branches(context_)) {}

Tensor ClipLoop::part(const TensorView& condition, std::int64_t first, std::int64_t count) const {
  Tensor result = clip_latents(run_, count);
  copy(context_.exec, {condition.slice(1, first, first + count), result});
  return result;
}

void ClipLoop::encode_reference() {
  if (!reference_.empty()) return;
  if (const TensorView resumed = run_.resumed_condition()) {
    const Tensor condition = clip_latents(run_, resumed.dim(1));
    context_.exec.backend.upload(resumed, condition);
    reference_ = part(condition, kReference, 1);
    return;
  }
  const Tensor frame = reference_frame(*inputs_.images.first, context_.settings.size);
  reference_ = clip_latents(run_, 1);
  encode_clip(
      context_, run_.models().vae, run_.encode_plan(),
      [&](std::int64_t, std::span<float> pixels) {
        std::copy_n(frame.as<float>(), pixels.size(), pixels.begin());
      },
      reference_);
  if (context_.dump == nullptr) return;
  const SharedNames of_the_video(context_.dump);
  context_.dump->planes("ref_video", frame.view().reshape({1, frame.dim(0), frame.dim(1), 3}));
  context_.dump->tensor(context_.exec, "ref_latents", reference_);
}

void ClipLoop::begin_history() {
  if (!history_.empty()) return;
  history_ = host_frames(context_, kMotionFrames);
  std::fill_n(history_.as<float>(), history_.elements(), 0.0f);
  if (!speech_.start_from_ref) return;
  WAN_CHECK(inputs_.images.first.has_value(), kInternal,
            "[clips] clip {} begins with a picture, which is not there", run_.segment());
  const Tensor frame = reference_frame(*inputs_.images.first, context_.settings.size);
  for (std::int64_t i = kMotionFrames - kReferenceFrames; i < kMotionFrames; ++i)
    std::copy_n(frame.as<float>(), frame.elements(), history_.as<float>() + i * frame.elements());
}

void ClipLoop::carry_on(Tensor frames) {
  if (frames.dim(0) == kMotionFrames) {
    history_ = std::move(frames);
    return;
  }
  begin_history();
  float* const history = history_.as<float>();
  std::copy(history + frames.elements(), history + history_.elements(), history);
  std::copy_n(frames.as<float>(), frames.elements(), history + history_.elements() - frames.elements());
}

void ClipLoop::encode_history(const TensorView& into) {
  begin_history();
  const std::int64_t frame_size = history_.elements() / kMotionFrames;
  const Tensor encoded = clip_latents(run_, kMotionLatents);
  encode_clip(
      context_, run_.models().vae, run_.encode_plan(),
      [&](std::int64_t index, std::span<float> pixels) {
        std::copy_n(history_.as<float>() + index * frame_size, pixels.size(), pixels.begin());
      },
      encoded);
  copy(context_.exec, {encoded, into});
  if (context_.dump == nullptr) return;
  context_.dump->planes("motion_video", history_);
  context_.dump->tensor(context_.exec, "motion_latents", encoded);
}

void ClipLoop::encode_poses(const TensorView& into) {
  const bool reads = context_.exec.communicator.rank() == 0;
  const int count = speech_.clip_frames;
  std::vector<Image> images;
  if (reads) {
    const RankRest rest(context_.exec.communicator);
    if (!poses_) {
      poses_.emplace(speech_.pose_video, speech_.pose_frames, context_.settings.fps);
      dump_poses();
    }
    poses_->skip(std::int64_t{run_.segment() - poses_taken_} * count);
    images = poses_->take(count);
    poses_taken_ = run_.segment() + 1;
  }
  // The first frame once more before all of them: it gets a latent of its own, which is left out.
  const std::int64_t frames = count + 1;
  const auto fill = [&](std::int64_t index, std::span<float> pixels) {
    const auto image = static_cast<std::size_t>(std::max<std::int64_t>(index - 1, 0));
    constexpr float kNoPose = -1.0f;
    if (image >= images.size()) {
      std::ranges::fill(pixels, kNoPose);
    } else {
      const Tensor frame = pose_frame(images[image], context_.settings.size);
      std::copy_n(frame.as<float>(), pixels.size(), pixels.begin());
    }
  };
  encode_frames(run_, frames, fill, into, "pose_video", "pose_latents");
}

/// All that are taken of the file, as they are.
void ClipLoop::dump_poses() const {
  if (context_.dump == nullptr) return;
  PoseReader reader(speech_.pose_video, speech_.pose_frames, context_.settings.fps);
  const std::vector<Image> images = reader.take(std::int64_t{speech_.clips} * speech_.clip_frames);
  if (images.empty()) return;
  std::vector<std::uint8_t> levels;
  for (const Image& image : images) levels.insert(levels.end(), image.rgb.begin(), image.rgb.end());
  const std::int64_t shape[] = {static_cast<std::int64_t>(images.size()), images[0].height, images[0].width,
                                3};
  const SharedNames of_the_video(context_.dump);
  context_.dump->bytes("pose_frames", levels, shape);
}

Tensor ClipLoop::make_condition() {
  encode_reference();
  Tensor condition = clip_latents(run_, kPose + run_.latent()[1]);
  const TensorView view = condition;
  fill_zero(context_.exec, view);
  copy(context_.exec, {reference_, view.slice(1, kReference, kReference + 1)});
  if (has_motion()) encode_history(view.slice(1, kMotion, kPose));
  if (!speech_.pose_video.empty()) encode_poses(view.slice(1, kPose, view.dim(1)));
  return condition;
}

Tensor ClipLoop::sound() {
  if (!heard_) {
    const SharedNames of_the_video(context_.dump);
    heard_.emplace(context_, run_.models(), inputs_.speech, speech_,
                   audio_layer_shares(context_.transformer_exec, transformer().weights().speech.audio));
  }
  heard_->dump_clip(run_.segment());
  return heard_->clip(run_.segment());
}

TensorView ClipLoop::denoise(Tensor condition) {
  SegmentInput segment{.condition = std::move(condition),
                       .noise_seed = context_.settings.seed + run_.segment(),
                       .keeps_condition = true};
  if (run_.is_kept()) return run_.denoise(std::move(segment));
  const std::int64_t frames = run_.latent()[1];
  Tensor audio;
  Tensor reference;
  Tensor motion;
  Tensor poses;
  std::optional<SpeechConditioning> conditioning;
  run_.before_steps([&] {
    audio = sound();
    reference = part(segment.condition, kReference, 1);
    if (has_motion()) motion = part(segment.condition, kMotion, kMotionLatents);
    if (!speech_.pose_video.empty()) poses = part(segment.condition, kPose, frames);
    const TokenDump dump(context_);
    conditioning.emplace(context_.transformer_exec, transformer(),
                         SpeechInput{.audio = audio, .reference = reference, .motion = motion, .pose = poses},
                         branches_);
  });
  segment.conditioning = conditioning->branch(0);
  if (branches_ > 1) segment.negative = conditioning->branch(1);
  const Communicator& ranks = context_.transformer_exec.communicator;
  segment.layout =
      speech_layout(transformer().config(), run_.latent(), has_motion(), ranks.size(), ranks.rank());
  return run_.denoise(std::move(segment));
}

/// What the VAE decodes before the clip's own latents: its history, or the picture where it has none.
void ClipLoop::put_before(const TensorView& condition, const TensorView& into) {
  const std::int64_t first = has_motion() ? kMotion : kReference;
  if (condition) {
    copy(context_.exec, {condition.slice(1, first, first + into.dim(1)), into});
  } else if (has_motion()) {
    encode_history(into);
  } else {
    encode_reference();
    copy(context_.exec, {reference_, into});
  }
}

void ClipLoop::make() {
  const int clip = run_.segment();
  begin_clip(run_);
  Tensor condition = run_.condition([&] { return make_condition(); });
  const bool motion = has_motion();
  const std::int64_t before = motion ? kMotionLatents : 1;
  const Tensor decoded = clip_latents(run_, before + run_.latent()[1]);
  run_.before_steps([&] { put_before(condition, decoded.view().slice(1, 0, before)); });
  const TensorView made = denoise(std::move(condition));
  copy(context_.exec, {made, decoded.view().slice(1, before, decoded.dim(1))});
  const int dropped = motion ? 0 : SpeechSettings::kDroppedFrames;
  const std::int64_t kept = speech_.clip_frames - dropped;
  const bool last = clip + 1 == speech_.clips;
  Tensor frames = run_.decode(decoded, {.skip = run_.models().vae.geometry().frames(decoded.dim(1)) - kept,
                                        .first_shown = motion ? 1 : speech_.first_frame_shown(),
                                        .carry = last ? 0 : std::min(kMotionFrames, kept)});
  if (!last) carry_on(std::move(frames));
}

}  // namespace wan
