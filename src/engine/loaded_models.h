#pragma once
// CheckpointModels: a checkpoint directory opened and checked; LoadedModels: its weights in memory, ready to run.

#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "engine/checkpoint_files.h"
#include "engine/model_checks.h"
#include "ops/backend.h"
#include "text/tokenizer.h"

namespace wan {

/// Every file mapped, every tensor's name and shape checked, nothing loaded.
struct CheckpointModels {
  /// Throws BadFile with the findings of all models in one message.
  explicit CheckpointModels(const std::filesystem::path& ckpt_dir);

  CheckpointFiles files;
  std::array<Checkpoint, 2> expert_checkpoints;  // by Expert
  Checkpoint text_checkpoint;
  Checkpoint vae_checkpoint;
  std::array<CheckedTransformer, 2> experts;  // by Expert
  Umt5Config text_encoder;
  Vae21Config vae;

  /// Read when first asked for: the official tokenizer.json has 17 MB, and a wrong option is told before. Throws
  /// BadFile.
  const Tokenizer& tokenizer() const;
  /// Bytes of the VAE's weights in f32.
  std::size_t vae_bytes() const;

 private:
  mutable std::unique_ptr<Tokenizer> tokenizer_;
};

/// Group of the text encoder's blocks; an expert's group is its number.
inline constexpr int kTextEncoderGroup = 2;

struct LoadOptions {
  DType weights;  // f32 or bf16
  ResidencyOptions residency;
};

/// What the residency would take for all groups, for a plan.
std::size_t planned_residency_bytes(const CheckpointModels& models, Backend& backend,
                                    const LoadOptions& options);

class LoadedModels {
 public:
  /// Loads all but streamed blocks. `progress` gets bytes and may throw to cancel. `models` outlives this.
  LoadedModels(const CheckpointModels& models, Backend& backend, const LoadOptions& options,
               const LoadProgress& progress);

  const Tokenizer& tokenizer() const { return models_.tokenizer(); }
  const Umt5Encoder& text_encoder() const { return *text_encoder_; }
  const WanTransformer& expert(Expert which) const { return *experts_[static_cast<std::size_t>(which)]; }
  BlockResidency& residency() const { return *residency_; }
  const VideoVae& vae() const { return *vae_; }

 private:
  const CheckpointModels& models_;
  std::vector<std::unique_ptr<WeightReport>> reports_;  // scopes point to them
  std::unique_ptr<BlockResidency> residency_;
  std::unique_ptr<Umt5Encoder> text_encoder_;
  std::array<std::unique_ptr<WanTransformer>, 2> experts_;
  std::unique_ptr<Vae21> vae_;
};

}  // namespace wan
