#pragma once
// Run: one video, from its first segment's noise to the finished file. It owns what its segments share: text, contexts, noise, the
// schedule of blocks, the output, and what is kept if it ends early. A task is a loop over segments:
//
//   for (int i = 0; i < segments; ++i) {
//     SegmentInput segment{.condition = run.condition(make)};
//     carried = run.decode(run.denoise(std::move(segment)), {.skip = 1, .carry = 4});
//   }

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "kept/recovery.h"
#include "kept/saved_latents.h"
#include "kept/state_keeper.h"
#include "media/frame_sink.h"
#include "media/sound_track.h"
#include "models/clip/clip_vision.h"
#include "models/video_vae.h"
#include "models/wav2vec2/wav2vec2.h"
#include "pipeline/denoise.h"
#include "pipeline/encode_text.h"
#include "pipeline/noise.h"

namespace wan {

/// Everything that a pipeline runs.
struct PipelineModels {
  const Tokenizer& tokenizer;
  const Umt5Encoder* text_encoder;  // rank 0's; the others' where they hold a share of it, otherwise nullptr
  Experts experts;
  BlockResidency& residency;  // of the experts' blocks
  const VideoVae& vae;
  // Of tasks that take sound:
  const Wav2Vec2* audio_encoder = nullptr;
  BlockResidency* audio_residency = nullptr;  // of its layers
  // Of tasks whose transformers attend to an image:
  const ClipVision* image_encoder = nullptr;
  BlockResidency* image_residency = nullptr;  // of its layers
};

/// What a segment is made from beside text and noise.
struct SegmentInput {
  /// What was given for it became this, f32 on the device, kept with unfinished latents; empty for none. The others are views
  /// of it.
  Tensor condition = {};
  Conditioning conditioning = {};
  /// The negative branch's conditioning, where it differs.
  std::optional<Conditioning> negative = {};
  TensorView given_frames = {};  // see DenoiseInput
  /// Tokens of the sequence for this rank of a pass; empty: the video's, the given frames first.
  std::optional<TokenLayout> layout = {};
  /// The segment's noise is of a generator of its own with this seed, rounded to bf16; unset: the run's one stream goes on.
  std::optional<std::int64_t> noise_seed = {};
  /// The condition is kept with finished latents too: they are decoded with it.
  bool keeps_condition = false;
};

struct VideoOutput {
  std::filesystem::path save_file;
  LatentsFile latents;
};

/// What a run is made of beside its context and models.
struct RunParts {
  Shape latent;      // of a segment [z, F, h, w]
  int segments = 1;  // as many as it will denoise
  VaePlan decode;
  VaePlan encode;  // of given images
  VideoOutput output;
  std::optional<SoundTrack> sound = {};   // of the video
  const SavedLatents* resumed = nullptr;  // an earlier run's latents to go on from
  KeepInterval keep = {};                 // of the state while it denoises
};

/// Which of a segment's decoded frames go where.
struct DecodedFrames {
  std::int64_t skip = 0;                  // of the first ones, that are not part of the video
  std::int64_t first_shown = 1;           // how often the first one that is part of it stands there
  std::int64_t carry = 0;                 // of the last ones, that the next segment is made from
  std::optional<std::int64_t> most = {};  // frames that are part of the video; unset: all
};

/// Tells the residencies of the text encoder and the experts, which may be one, what a run acquires: the text encoder's
/// blocks for so many prompts, then the experts'. Without a text encoder the experts' alone.
void set_schedules(const Umt5Encoder* text_encoder, int prompts, BlockResidency& experts,
                   const std::vector<BlockId>& denoising);

/// Every rank of a group makes the same calls. Rank 0 writes the video, keeps latents, dumps and tells events; the others take part in
/// what is computed together.
class Run {
 public:
  Run(const RunContext& context, const PipelineModels& models, RunParts parts);
  ~Run();

  const RunContext& context() const { return run_; }
  const PipelineModels& models() const { return models_; }
  const Shape& latent() const { return parts_.latent; }
  const VaePlan& encode_plan() const { return parts_.encode; }
  /// The number of the segment that is being made, from 0.
  int segment() const { return segment_; }
  int segments() const { return parts_.segments; }

  /// make(), or what it gave the earlier run that this one goes on from; empty where the segment's finished latents are kept without it.
  Tensor condition(const std::function<Tensor()>& make);
  /// Other work before the segment's steps; what it throws is passed on with where kept latents are.
  void before_steps(const std::function<void()>& work) const;
  /// Whether the segment's finished latents were kept by the run that this one goes on from: then it is only decoded.
  bool is_kept() const;
  /// The condition of the segment that the earlier run ended in, on the host; empty for none.
  TensorView resumed_condition() const;

  /// The segment's finished latent [z, F, h, w] f32 on the device, until the next call. A failure after the run's first step,
  /// Cancelled included, keeps what was reached in output.latents and says so.
  TensorView denoise(SegmentInput input);

  /// Decodes latents [z, F', h, w] into the output and ends the segment. Returns the frames to carry [carry, H, W, 3] f32 on the host, as
  /// decoded, clamped to [-1, 1]; the same on every rank.
  Tensor decode(const TensorView& latents, const DecodedFrames& frames = {});

  /// Completes the video, once all segments are decoded.
  void finish();

 private:
  bool writes() const { return run_.exec.communicator.rank() == 0; }
  const SavedLatents* resumed_here() const;
  Reached reached() const;
  void keep_where_due();
  void restore_segment(bool own_noise);
  void begin(int first_step);
  std::filesystem::path keep_finished();
  void open_output();
  [[noreturn]] void fail_between_steps(const Error& error) const;

  const RunContext& run_;
  PipelineModels models_;
  RunParts parts_;
  Scheduler scheduler_;
  Guidance guidance_;
  NoiseSource noise_;
  int segment_ = 0;
  DenoiseState state_;
  Tensor condition_;                 // of the segment
  bool keeps_condition_ = false;     // SegmentInput
  FinishedSegments done_;            // latents of the segments before it
  std::optional<EncodedText> text_;  // once a segment needed it
  std::optional<ContextCache> contexts_;
  StateKeeper keeper_;
  std::filesystem::path kept_;  // where rank 0 has finished latents, on every rank; empty for nowhere
  bool finished_any_ = false;   // a segment's latents, in this run or the one it goes on from
  std::unique_ptr<FrameSink> sink_;
  std::int64_t written_ = 0;  // frames
};

}  // namespace wan
