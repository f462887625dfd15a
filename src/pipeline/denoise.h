#pragma once
// The denoising loop: from noise, or from the middle of an earlier run, to a clean latent.

#include <array>
#include <functional>
#include <optional>
#include <vector>

#include "kept/denoise_state.h"
#include "models/wan/transformer.h"
#include "pipeline/encode_text.h"
#include "settings/run_context.h"

namespace wan {

/// The transformers by Expert; a model with one has it as kLowNoise and nullptr for the other.
using Experts = std::array<const WanTransformer*, 2>;

/// Guidance branches.
enum Branch { kPrompt, kNegative, kBranches };

/// Slots for a run, all zero; slot kSample is the caller's to fill.
DenoiseState make_denoise_state(ExecContext& ctx, const Scheduler& scheduler, const Shape& latent);

/// The order in which a run from `first_step` on acquires the transformers' blocks; an expert's group is its number.
std::vector<BlockId> denoise_schedule(const Scheduler& scheduler, const Guidance& guidance,
                                      const Experts& experts, int first_step);

struct DenoiseInput {
  const Scheduler& scheduler;
  const Guidance& guidance;
  const Experts& experts;
  const EncodedText& text;
  ContextCache& contexts;  // what the text becomes, by expert and branch; filled as steps need it
  /// By branch. Branches that share one object are embedded once.
  std::array<const Conditioning*, kBranches> conditioning;
  /// [C, n, h, w] f32: the first n latent frames where they are given. They stay as they are, their tokens take timestep
  /// 0. Empty for none.
  TensorView given_frames;
  /// The tokens, where they are more than the video's; of the rank and ranks of RunContext::transformer_exec.
  const std::optional<TokenLayout>& layout;
  /// Called between two steps, when state is whole.
  std::function<void()> after_step = {};
};

/// Runs steps state.next_step to the last. When it throws (Cancelled included), state is what it was after the last
/// whole step. Throws Internal, naming step and expert, where a prediction is not finite.
void denoise(const RunContext& run, const DenoiseInput& input, DenoiseState& state);

}  // namespace wan
