#pragma once
// One segment of a video: noise to latents, latents to frames. Tasks are made of these.

#include "media/frame_sink.h"
#include "models/video_vae.h"
#include "pipeline/denoise.h"
#include "pipeline/recovery.h"
#include "pipeline/saved_latents.h"

namespace wan {

/// Everything that a pipeline runs.
struct PipelineModels {
  const Tokenizer& tokenizer;
  const Umt5Encoder& text_encoder;
  Experts experts;
  BlockResidency& residency;  // of the experts' blocks
  const VideoVae& vae;
};

/// What a segment is made from beside text and noise.
struct SegmentInput {
  Shape latent;  // [z, F, h, w]
  /// What the given images became, f32 on the device, kept with unfinished latents; empty for none. The next two are
  /// views of it.
  Tensor condition;
  Conditioning conditioning;
  TensorView given_frames;  // see DenoiseInput
};

/// Tells the residencies of the text encoder and the experts, which may be one, what a run acquires: the text encoder's
/// blocks for so many prompts, then the experts'.
void set_schedules(const Umt5Encoder& text_encoder, int prompts, BlockResidency& experts,
                   const std::vector<BlockId>& denoising);

/// The finished latent in slot kSample. `resumed`: an earlier run's latents to go on from, or nullptr. A failure after
/// the first step, Cancelled included, keeps what was reached in `latents_file` and says so.
DenoiseState denoise_segment(const RunContext& run, const PipelineModels& models, const SegmentInput& input,
                             const LatentsFile& latents_file, const SavedLatents* resumed);

/// Decodes a segment's latents into `output`, which stays open for the next one.
void decode_segment(const RunContext& run, const PipelineModels& models, const VaePlan& plan,
                    const TensorView& latents, FrameSink& output);

}  // namespace wan
