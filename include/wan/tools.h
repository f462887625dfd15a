#pragma once
// Looking into checkpoints and ahead of them: what `wan inspect`, `wan tokenize` and `wan plan` print.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "wan/engine.h"

namespace wan {

/// A prompt as the text encoder sees it.
struct TokenizedText {
  std::string cleaned;            // after the official cleaning
  std::vector<std::int64_t> ids;  // the used ones, end mark included
  int limit;                      // 512
  bool truncated;
};

/// Throws BadFile where `ckpt_dir` holds no tokenizer and InvalidArgument for text that is not UTF-8.
TokenizedText tokenize(const std::filesystem::path& ckpt_dir, const std::string& prompt);

/// One tensor file or model folder.
struct InspectedTensor {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::int64_t bytes;
};

struct InspectedModel {
  std::string path;  // as given, or relative to the checkpoint directory
  std::string kind;  // "diffusion transformer", "umT5 text encoder", "VAE 2.1", "VAE 2.2", "tensors"
  std::vector<std::pair<std::string, std::string>> dimensions;  // "dim" -> "5120", ...
  std::vector<InspectedTensor> tensors;                         // in the order of their names
  std::int64_t bytes;
  std::vector<std::string> ignored;  // names of files beside it that are no part of it: a LoRA, macOS's "._*"
  /// Missing, unused and mis-shaped tensors, why it cannot be read: a message as Error has them. Empty: none.
  std::string findings;
};

/// A file (.safetensors, .gguf, .pth), a model's folder, or a whole checkpoint directory; of the latter, what generation would
/// refuse beside its models' findings is an entry of its own. Throws BadFile for a file that cannot be read and a folder
/// without any.
std::vector<InspectedModel> inspect(const std::filesystem::path& path);

/// A checkpoint's transformers in another format, with all that belongs to them.
struct ConversionOptions {
  std::filesystem::path ckpt_dir;
  /// A folder in the official layout, made where there is none. A file of the same conversion that is there already is left as it is, and an
  /// unfinished one of the same source and options goes on after its last whole tensor. Another whole file in a file's place is an error.
  std::filesystem::path target;
  /// Of the blocks' matrices: bf16, fp8 (e4m3) or int8 with a scale a row, in safetensors files; q8_0 or q4_0, in GGUF files.
  std::string format;
  /// Merged in f32 before the one rounding, as EngineOptions::lora.
  std::vector<LoraFile> lora = {};
  bool lora_allow_unmatched = false;
};

/// A tensor that has been written.
struct ConvertedTensor {
  std::string model;  // "high_noise_model"
  std::string name;
  std::string dtype;   // in the new file
  std::int64_t bytes;  // there
  double error;        // what its values are off by, relative to them: ||new - old|| / ||old||
};

struct ConversionProgress {
  std::function<void(const ConvertedTensor&)> on_tensor;  // of an unfinished file also those that were there
  std::function<void(const std::string&)> on_notice;      // of files that were there, or are left out
};

/// Throws InvalidArgument, BadFile, Io. Takes the memory of one matrix beside its rows.
void convert(const ConversionOptions& options, const ConversionProgress& progress);

/// What a video would take of a machine, by the published models' shapes: no file of theirs is needed.
struct PublishedPlanOptions {
  std::string task = "t2v-A14B";
  std::optional<VideoSize> size;  // empty: the task's default
  std::optional<int> frame_num;   // likewise
  bool image = false;             // the video begins with a picture; always for i2v-A14B
  /// A GPU that this machine need not have, by name ("RTX 4090") or memory in bytes. Neither: this machine, as device "auto".
  std::string gpu = {};
  std::int64_t gpu_bytes = 0;
  // As EngineOptions.
  std::string precision = {};
  std::string vae_precision = "fp32";
  std::string residency = "auto";
  bool offload_model = false;
  bool t5_cpu = false;
  bool dit_fsdp = false;
  bool t5_fsdp = false;
  std::int64_t memory_limit = 0;
  int ulysses_size = 1;  // ranks, each with such a GPU or a part of the CPU; the plan is one rank's
  /// So many such GPUs, in the layout that Engine chooses for them where every step has two passes; 0: as ulysses_size says.
  int gpus = 0;
};

struct PublishedPlan {
  std::string task;
  VideoSize size;
  int frame_num;
  bool on_gpu;  // the given one or this machine's
  MemoryPlan plan;
};

/// Throws InvalidArgument for options that cannot be, and OutOfMemory where the video does not fit.
PublishedPlan plan_published(const PublishedPlanOptions& options);

}  // namespace wan
