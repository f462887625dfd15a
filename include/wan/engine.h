#pragma once
// Engine: a checkpoint ready to generate. The one class that a program needs; see examples/generate.cpp.

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "wan/error.h"
#include "wan/events.h"
#include "wan/request.h"
#include "wan/version.h"

namespace wan {

class Backend;
class EngineShare;
class ProcessLink;

/// Files that are taken instead of a checkpoint folder's own, or without a folder; each is known by the names and shapes of its tensors,
/// the official ones, diffusers', transformers' or ComfyUI's. Empty: the folder's.
struct CheckpointParts {
  /// The two experts of an A14B model. Both, unless the folder has the other one.
  std::filesystem::path high_noise, low_noise;
  /// The one transformer of another model.
  std::filesystem::path transformer;
  std::filesystem::path text_encoder;
  std::filesystem::path vae;
  /// tokenizer.json, spiece.model or a folder that holds one; empty also: that of the text encoder's file, where it has one.
  std::filesystem::path tokenizer;

  friend bool operator==(const CheckpointParts&, const CheckpointParts&) = default;
};

/// An addition to a model's weights, merged into them as they are loaded.
struct LoraFile {
  std::filesystem::path file;
  double strength = 1;
  /// "high" or "low": that expert's alone. Empty: as the file's name says ("..._high_noise_..."), otherwise both.
  std::string expert = {};

  friend bool operator==(const LoraFile&, const LoraFile&) = default;
};

/// "FILE", "FILE:0.8", "FILE@high", "FILE:0.8@low". Throws InvalidArgument.
LoraFile parse_lora(const std::string& text);
/// Shortest text that parse_lora() reads back to the same.
std::string format_lora(const LoraFile& lora);

struct EngineOptions {
  /// A folder in the official layout, of diffusers' or ComfyUI's files, a repository in Hugging Face's cache, or the name of one that has
  /// been downloaded there ("Wan-AI/Wan2.2-T2V-A14B"). May be empty where `parts` has a transformer, text encoder and VAE.
  std::filesystem::path ckpt_dir;
  CheckpointParts parts = {};
  /// Merged in their order, in f32, with one rounding to the weights' precision.
  std::vector<LoraFile> lora = {};
  /// Keys of a LoRA that nothing is known of are left out instead of refused.
  bool lora_allow_unmatched = false;
  /// "cpu", "cuda", "cuda:N", or "auto": the first GPU where this build and machine have a usable one, otherwise the CPU.
  std::string device = "auto";
  /// GPUs that work on one video together, a rank each, such as {0, 2, 3}; they stand above `device`. Empty: `device` alone, or what
  /// ulysses_size asks for.
  std::vector<int> gpus = {};
  /// Ranks that divide a video's tokens (Ulysses), at most as many as the model has attention heads: as many as `gpus` has, or
  /// without those the first GPUs, or on the CPU parts of its threads. 0: one a GPU of `gpus`, otherwise one.
  int ulysses_size = 0;
  /// "on": guidance's two passes run at the same time, each on a half of the ranks, which divide its tokens; then ulysses_size is of a
  /// half. "off": one after the other, each on all ranks. "auto": on where every step has both passes and the ranks, without
  /// ulysses_size, are an even number; where some steps have, whichever is faster by GPUs and links as they are measured.
  std::string guidance_parallel = "auto";
  /// How what one GPU sends comes to another: "on": each reads the others' memory; "off": through page-locked memory of the host; "auto": on where
  /// the driver has it between all of them. GPUs of several processes exchange by NCCL where all of them have it, with "off" through the
  /// hosts' memory.
  std::string p2p = "auto";
  /// Of several ranks, how long one waits for the others to come to an exchange, of which each block has four: one that does not come ends all of
  /// them. Waiting for whoever handles events, and for a disk, does not count. A rank that does not end as long after a failure, 30 s at least, has
  /// a device that does not answer and cannot be ended: the process exits with the failure's status.
  std::chrono::duration<double> rank_timeout = std::chrono::seconds(300);
  /// With several ranks: every rank keeps an equal part of each of the transformers' blocks (`dit_fsdp`), or the text encoder's
  /// (`t5_fsdp`), in its device's memory, and the whole of the block that it computes with and of the next. Where not all parts fit, as
  /// many blocks are divided as do, and the others streamed; with residency "resident" all of them are, with "streamed" none. One rank
  /// has nothing to divide, and GPUs that do not read each other's memory (p2p) divide nothing. A text encoder on the CPU (t5_cpu) is not divided.
  /// Of several processes each divides among its own ranks; the text encoder is the first one's.
  bool dit_fsdp = false;
  bool t5_fsdp = false;
  /// "fp32" or "bf16" (bf16 weights and products, accumulated in fp32). Empty: fp32 on the CPU, bf16 on a GPU.
  std::string precision = {};
  /// "fp32", or "bf16": the VAE's weights and what lies between its layers in bf16, sums in fp32. Half the memory of its
  /// frames; the video differs by less than its 8 bits do (50 dB and more), so that it is never chosen by itself.
  std::string vae_precision = "fp32";
  /// Where the transformers' and the text encoder's blocks live: "resident" (all in memory), "streamed" (two at a time,
  /// read from the checkpoint one block ahead), or "auto": as many as fit. Where not all do, a block that is needed no more
  /// gives its place to the next one, so that the second expert comes in during the first one's last pass.
  std::string residency = "auto";
  /// On a GPU, with residency "auto": never more blocks in its memory than one transformer has.
  bool offload_model = false;
  /// On a GPU: the text encoder runs on the CPU, in fp32 unless `precision` says otherwise, and its weights never enter the
  /// GPU's memory. In the host's lie two of its blocks at a time, read from the checkpoint; or all, where blocks are kept
  /// (keep_models) and take at most half of what was free when the engine was made, or with residency "resident".
  bool t5_cpu = false;
  /// Of animate-14B: the light of the scene on the character, by the checkpoint's relighting LoRA, which is added to the weights while
  /// they are loaded.
  bool use_relighting_lora = false;
  /// Blocks stay in memory for the next generation. Otherwise they are given back as soon as one needs them no more:
  /// the text encoder's before the steps, the transformers' before the frames; for programs that make one video. A video that
  /// would be made in another way beside kept blocks (in tiles), or not at all, is made without: what comes next loads again.
  bool keep_models = true;
  /// Bytes of the device's memory to stay under where possible; 0: what is free.
  std::int64_t memory_limit = 0;
  /// CPU threads; 0: as many as this process may use. With more than one, an engine lets the OpenMP threads of the whole
  /// process sleep soon after their work (as many threads as there are processors are held asleep for that); set
  /// OMP_WAIT_POLICY or GOMP_SPINCOUNT before the program starts to choose otherwise.
  int threads = 0;

  friend bool operator==(const EngineOptions&, const EngineOptions&) = default;
};

/// What is needed where, in bytes; made before anything loads.
struct MemoryPlan {
  /// Devices, or parts of the CPU, that work on the video; what follows is of the first one, and no other takes more.
  int ranks = 1;
  int ulysses_size = 1;            // of these, that divide the tokens of a pass
  bool guidance_parallel = false;  // the others run guidance's other pass meanwhile
  std::string layout_reason = {};  // of several ranks: why they go so, in a few words
  /// How what a rank sends comes to another: "peer": GPUs read each other's memory; "host": through the host's memory; "nccl": between
  /// the processes' GPUs, by NCCL; "mpi": between processes, through the hosts' memory. Empty for one rank.
  std::string transport = {};
  /// Of several GPUs whose links were measured for the choice of a layout: the part of a step that links take at most, 0 to 1. Otherwise 0.
  double link_share = 0;
  /// Of each rank of this process, where they are several. Their GPUs may differ, and what is free of them.
  struct RankMemory {
    std::string device;  // "cuda:2"
    std::int64_t peak = 0;
    std::int64_t available = 0;
  };
  std::vector<RankMemory> rank_memory = {};
  /// On the CPU, of the process before its first plan: code, libraries, what the caller holds. On a GPU, what CUDA's libraries
  /// are expected to take for their kernels and scratch.
  std::int64_t program = 0;
  /// Weights. Streamed blocks are counted with the transformers', whose places they share.
  std::int64_t text_encoder = 0;
  /// With t5_cpu on a GPU: the text encoder's weights and scratch in the host's memory; then nothing of it is in any other
  /// number here. Otherwise 0.
  std::int64_t text_encoder_host = 0;
  std::int64_t audio_encoder =
      0;  // of tasks that take sound: weights, outside of its layers, which come and go
  std::int64_t transformers = 0;  // weights of both experts as held by the residency
  std::int64_t loras = 0;         // of these what LoRAs add to packed weights, which are not merged
  /// Of the host's memory while blocks are loaded, at most, for what LoRAs are merged from. On the CPU it is counted with the program.
  std::int64_t lora_staging = 0;
  std::int64_t context_cache = 0;
  std::int64_t activations = 0;  // scratch of one transformer pass
  std::int64_t vae = 0;          // weights, feature caches and scratch
  std::int64_t latents =
      0;  // the latent, the solver's history, the branches' predictions, what a clip is made from
  /// The largest sum that is alive at once. Not in it: the tokenizer, the video's encoder, the host's copy of a
  /// state that is kept (as large as `latents`), and pages of the mapped files, which are page cache.
  std::int64_t peak = 0;
  std::int64_t available = 0;  // the limit, or what is free beside what the process has
  bool blocks_resident = true;
  int block_places = 0;  // whole blocks that are in memory at a time
  /// Ranks that each have a part of the blocks that are divided (EngineOptions::dit_fsdp, t5_fsdp), in `transformers` and
  /// `text_encoder`; 1: none are.
  int shards = 1;
  int sharded_blocks = 0;      // of the transformers'
  int transformer_blocks = 0;  // that they have
  bool text_encoder_sharded = false;
  int feed_forward_pieces =
      1;  // parts in which tokens go through a block's feed-forward, more than one where memory is short
  int vae_tile = 0;  // pixels of a decoder tile's side; 0: whole frames
};

/// A line a row for people.
std::string to_string(const MemoryPlan& plan);
/// One JSON object without newline: {"event": "plan", "transformers": 123, ...}, in bytes.
std::string to_json(const MemoryPlan& plan);

/// What a generation made.
struct GenerationResult {
  std::filesystem::path save_file;
  std::filesystem::path latents_file;  // empty unless kept
  std::filesystem::path source;        // the preprocessed folder, of animate-14B
  std::int64_t seed = 0;
  std::int64_t frames = 0;
  double seconds = 0;
};

class Engine {
 public:
  /// Checks the options and maps the checkpoint; weights are converted when a request first needs them, and stay for
  /// the next request. Throws InvalidArgument, BadFile (every missing, unused and mis-shaped tensor in one message) or
  /// Unsupported.
  explicit Engine(const EngineOptions& options);
  ~Engine();
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;

  /// Throws what generate() would throw for this request before it loads anything.
  void check(const GenerationRequest& request) const;
  MemoryPlan plan(const GenerationRequest& request) const;

  /// Pixels of a side of the faces that the checkpoint of animated characters looks at; 0 of other models.
  int face_size() const;

  /// check(), for a request that is to come. Where blocks are kept, no more have a place from now on than fit beside this one, nor
  /// than fitted beside those that were made: so mixed sizes need not move them, and weights are loaded once.
  void expect(const GenerationRequest& request);

  /// Makes the video. `cancelled` may be set by any thread or signal handler: the call then throws Cancelled within one
  /// step and says what was kept. Handlers need a stack of their own (sigaltstack, SA_ONSTACK): the CPU's products have the stack
  /// pointer in the heap at times. One call at a time. Throws Error; nothing half-made stays under the final name. What
  /// `on_event` throws ends the run like any failure: what was reached is kept, and Error{Internal} holds its text.
  GenerationResult generate(const GenerationRequest& request, const EventHandler& on_event = {},
                            const std::atomic<bool>* cancelled = nullptr);

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  friend Engine make_engine(const EngineOptions&, std::vector<std::unique_ptr<Backend>>);
  friend EngineShare;
  static std::unique_ptr<Impl> make_impl(const EngineOptions& options);
  static std::unique_ptr<Impl> make_impl(const EngineOptions& options, std::unique_ptr<ProcessLink> link);

  std::unique_ptr<Impl> impl_;
};

}  // namespace wan
