#pragma once
// CheckpointModels: a checkpoint directory opened and checked; LoadedModels: its weights in memory, ready to run.

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "engine/load_options.h"
#include "engine/model_checks.h"
#include "engine/residency_bytes.h"
#include "ops/backend.h"
#include "pipeline/run.h"
#include "tasks/checkpoint_files.h"
#include "tasks/model_shapes.h"
#include "tokenizers/tokenizer.h"

namespace wan {

/// Every file mapped, every tensor's name and shape checked, nothing loaded.
struct CheckpointModels {
  /// Throws BadFile with the findings of all models in one message.
  /// InvalidArgument for a relighting LoRA of a checkpoint whose task has none.
  explicit CheckpointModels(const std::filesystem::path& ckpt_dir, const VaePrecision& precision = {},
                            const CheckpointParts& parts = {}, std::span<const LoraFile> loras = {},
                            bool lora_allow_unmatched = false, bool use_relighting_lora = false);

  CheckpointFiles files;
  std::vector<Checkpoint>
      transformer_checkpoints;  // by Expert; one where there is one transformer. With LoRAs
  std::vector<std::filesystem::path> lora_files;
  std::vector<std::string> lora_notices;  // what became of their keys
  Checkpoint text_checkpoint;
  Checkpoint vae_checkpoint;
  std::optional<Checkpoint> audio_checkpoint;  // of tasks that take sound
  std::optional<Checkpoint> image_checkpoint;  // of tasks whose transformers attend to an image
  std::vector<WanConfig> transformers;         // likewise
  std::optional<Checkpoint> relighting;        // a LoRA of the checkpoint's own, which is merged
  Umt5Config text_encoder;
  std::optional<Wav2Vec2Config> audio_encoder;
  std::optional<ClipConfig> image_encoder;
  VaePrecision vae_precision;
  std::unique_ptr<WeightReport> vae_report;
  std::unique_ptr<VideoVae> vae;  // describing: knows its geometry

  /// All of the files' parts.
  std::vector<const Checkpoint*> checkpoints() const;
  /// That the checkpoint is for.
  const Task& task() const { return *files.task; }
  /// Dimensions that the transformers share: channels, patch, text length, heads.
  const WanConfig& config() const { return transformers[0]; }

  /// What a plan is made of.
  ModelShapes shapes() const;
  operator ModelShapes() const { return shapes(); }  // NOLINT: where only dimensions are wanted

  /// Read when first asked for: the official tokenizer.json has 17 MB, and a wrong option is told before. From any thread.
  /// Throws BadFile.
  const Tokenizer& tokenizer() const;

 private:
  mutable std::mutex tokenizer_mutex_;
  mutable std::unique_ptr<Tokenizer> tokenizer_;
};

class LoadedModels {
 public:
  /// Loads all but streamed blocks, and of divided ones this rank's shares. `text_backend` is the text encoder's: `backend`, or the CPU
  /// where options say so. `shares` are this rank's, of `options.sharding`. `progress` gets bytes and may throw to cancel. `models`
  /// and backends outlive this, those of all ranks where blocks are divided.
  LoadedModels(const CheckpointModels& models, Backend& backend, Backend& text_backend,
               const LoadOptions& options, const ModelShares& shares, const LoadProgress& progress);

  /// As LoadOptions; may change with what is loaded.
  void set_feed_forward_pieces(int pieces);

  PipelineModels pipeline() const;

 private:
  const CheckpointModels& models_;
  std::vector<std::unique_ptr<WeightReport>> reports_;  // scopes point to them
  std::unique_ptr<BlockResidency> residency_;
  std::unique_ptr<BlockResidency> text_residency_;   // the text encoder's, where it is not the transformers'
  std::unique_ptr<Umt5Encoder> text_encoder_;        // unless it is another rank's
  std::unique_ptr<BlockResidency> audio_residency_;  // of tasks that take sound
  std::unique_ptr<Wav2Vec2> audio_encoder_;
  std::unique_ptr<BlockResidency> image_residency_;  // of tasks whose transformers attend to an image
  std::unique_ptr<ClipVision> image_encoder_;
  std::vector<std::unique_ptr<WanTransformer>> transformers_;
  std::unique_ptr<VideoVae> vae_;
};

}  // namespace wan
