#pragma once
// How long a step of the published models takes on GPUs: work by shapes, divided by the parts of a GPU's ceilings that kernels were
// measured to reach. An estimate, not a measurement.

#include <cstdint>

#include "models/wan/config.h"
#include "parallel/rank_layout.h"
#include "published/known_gpus.h"
#include "tasks/task.h"

namespace wan {

/// What a GPU and its links sustain, a second.
struct GpuRates {
  double attention_flops;
  double product_flops;
  double tensor_flops;  // the ceiling of bf16 products
  double memory_bytes;
  double link_bytes;    // out of another GPU's memory, each way
  double upload_bytes;  // of weights from the page cache into the GPUs of a machine together
};

GpuRates rates_of(const KnownGpu& gpu, GpuLink link);

/// What a pass of one transformer over all tokens has to do.
struct PassWork {
  std::int64_t tokens = 0;
  std::int64_t layers = 0;
  std::int64_t heads = 0;
  double attention_flops = 0;  // of self-attention
  double product_flops = 0;    // the rest, what is not done for every token left out
  double memory_bytes = 0;     // of the passes between products: norms, rotary embedding, residuals
  double row_bytes = 0;        // of a token's queries, in bf16
  double block_bytes = 0;      // of a block's weights in bf16, as many blocks' mean
};

/// `latent`: [z, F, h, w]. With as many text tokens as the model takes.
PassWork pass_work(const WanConfig& config, const Shape& latent);

/// How GPUs share a step.
struct StepLayout {
  RankLayout ranks = {};
  bool sharded =
      false;            // each GPU keeps its part of every block, and gathers the next one while one computes
  double streamed = 0;  // part of a transformer's blocks that come from the host while others compute
};

/// Seconds of a step of both passes, part by part. Blocks come beside the computing: only what takes longer than that counts.
struct StepSeconds {
  double computing = 0;   // of the GPU that has most to do
  double exchanging = 0;  // of queries, keys, values and results between GPUs; nothing of it is hidden
  double waiting = 0;     // for weights

  double all() const { return computing + exchanging + waiting; }
};

/// A pass on one GPU.
double pass_seconds(const PassWork& work, const GpuRates& rates);
/// What a GPU sends, and receives, in a pass of Ulysses.
double exchanged_bytes(const PassWork& work, int ulysses);
StepSeconds step_seconds(const PassWork& work, const StepLayout& layout, const GpuRates& rates);

/// Of the VAE, in fp32 (TF32 convolutions), its pictures divided over `gpus`.
double vae_seconds(VaeKind vae, std::int64_t flops, const GpuRates& rates, int gpus = 1);

}  // namespace wan
