#pragma once
// CheckpointModels: a checkpoint directory opened and checked; LoadedModels: its weights in memory, ready to run.

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/checkpoint_files.h"
#include "engine/model_checks.h"
#include "models/video_vae/streamed_vae.h"
#include "ops/backend.h"
#include "pipeline/run.h"
#include "text/tokenizer.h"

namespace wan {

/// Every file mapped, every tensor's name and shape checked, nothing loaded.
struct CheckpointModels {
  /// Throws BadFile with the findings of all models in one message.
  explicit CheckpointModels(const std::filesystem::path& ckpt_dir, const VaePrecision& precision = {});

  CheckpointFiles files;
  std::vector<Checkpoint> transformer_checkpoints;  // by Expert; one where there is one transformer
  Checkpoint text_checkpoint;
  Checkpoint vae_checkpoint;
  std::vector<CheckedTransformer> transformers;  // likewise
  Umt5Config text_encoder;
  VaePrecision vae_precision;
  std::unique_ptr<WeightReport> vae_report;
  std::unique_ptr<VideoVae> vae;  // describing: knows its geometry and plans

  /// That the checkpoint is for.
  const Task& task() const { return *files.task; }
  /// Dimensions that the transformers share: channels, patch, text length, heads.
  const WanConfig& config() const { return transformers[0].config; }

  /// Read when first asked for: the official tokenizer.json has 17 MB, and a wrong option is told before. From any thread.
  /// Throws BadFile.
  const Tokenizer& tokenizer() const;
  /// Bytes of the VAE's weights as they are held.
  std::size_t vae_bytes() const;

 private:
  mutable std::mutex tokenizer_mutex_;
  mutable std::unique_ptr<Tokenizer> tokenizer_;
};

/// Activations stay in f32 on the CPU, whatever the weights' dtype; a device has them in the weights'.
inline DType compute_dtype(const Backend& backend, DType weights) {
  return backend.device().kind == DeviceKind::kCpu ? DType::kF32 : weights;
}

struct LoadOptions {
  struct Blocks {
    DType weights;  // f32 or bf16
    ResidencyOptions residency;
  };
  DType weights;  // likewise
  ResidencyOptions residency;
  /// The text encoder's, where it is on the CPU beside a device; empty: with the transformers.
  std::optional<Blocks> text_encoder_host;
};

/// Memory of the blocks, for a plan. Streamed ones share their places, which are counted with the transformers.
struct ResidencyBytes {
  std::size_t transformers = 0;
  std::size_t text_encoder = 0;
  std::size_t text_encoder_host = 0;  // on the CPU beside a device
  /// On the device.
  std::size_t all() const { return transformers + text_encoder; }
};
ResidencyBytes planned_residency_bytes(const CheckpointModels& models, const LoadOptions& options);

class LoadedModels {
 public:
  /// Loads all but streamed blocks. `text_backend` is the text encoder's: `backend`, or the CPU where options say so.
  /// `progress` gets bytes and may throw to cancel. `models` and backends outlive this.
  LoadedModels(const CheckpointModels& models, Backend& backend, Backend& text_backend,
               const LoadOptions& options, const LoadProgress& progress);

  PipelineModels pipeline() const;

 private:
  const CheckpointModels& models_;
  std::vector<std::unique_ptr<WeightReport>> reports_;  // scopes point to them
  std::unique_ptr<BlockResidency> residency_;
  std::unique_ptr<BlockResidency> text_residency_;  // with options.text_encoder_host
  std::unique_ptr<Umt5Encoder> text_encoder_;
  std::vector<std::unique_ptr<WanTransformer>> transformers_;
  std::unique_ptr<VideoVae> vae_;
};

}  // namespace wan
