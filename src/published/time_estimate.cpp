#include "published/time_estimate.h"

#include <algorithm>

#include "models/wan/transformer.h"

namespace wan {

namespace {

/// Parts of the ceiling of bf16 products.
struct Shares {
  double attention;
  double products;
};

Shares shares_of(GpuClass kind) {
  switch (kind) {
    // So that a forward of A14B at 1280x720x81 takes 9.1 s, which took 8.8 and 9.0 on two H200s, whose attention alone gave 718 to 725
    // of 989 TF/s (docs/performance.md).
    case GpuClass::kHopperCentre:
      return {.attention = 0.74, .products = 0.75};
    // Published: FlashAttention-2 204 of 312 TF/s at 32k keys (SageAttention's charts), of which cuDNN gives 0.82
    // (transformers #48163); cuBLAS 257 on random numbers (thonking.ai).
    case GpuClass::kAmpereCentre:
      return {.attention = 0.54, .products = 0.82};
    // Published: FlashAttention-2 110 of 155 TF/s on an RTX A6000. Of an A40, 300 W, 105 and 115 of 149.7 are assumed.
    case GpuClass::kWorkstation:
      return {.attention = 0.70, .products = 0.77};
    // Published: FlashAttention-2 164 of 165 TF/s on an RTX 4090, 70 of 71 on an RTX 3090; cuDNN 0.93 of that.
    case GpuClass::kGeForce:
      return {.attention = 0.90, .products = 0.90};
    // Published: a forward of A14B at 1280x720x80 in 4.3 to 4.6 s on one B200 (TensorRT-LLM), 0.63 to 0.67 of the ceiling in all.
    case GpuClass::kBlackwellCentre:
      return {.attention = 0.60, .products = 0.70};
  }
  return {};
}

// Measured on an H200: element-wise passes and copies at 4.1 of 4.8 TB/s (docs/performance.md).
constexpr double kMemoryShare = 0.86;
// Measured on two H100s and H200s: 243 GB/s of an exchange's 450, waiting of the ranks for one another included.
constexpr double kNvlinkShare = 0.54;
// Usual of PCIe 4 x16: a peer's memory; by way of the host's memory, there and back.
constexpr double kPcieBytes = 22e9;
constexpr double kHostBytes = 10e9;
// Measured: 65.5 GB from the page cache, converted, in 3.8 s on 16 processors (docs/performance.md).
constexpr double kUploadBytes = 17.4e9;

// Decoding in fp32 (TF32) on an H200 (docs/performance.md), of 989 TF/s: VAE 2.1 0.64 PFLOP in 3.24 s, VAE 2.2 2.01 in 6.57 s.
constexpr double kVae21Share = 0.20;
constexpr double kVae22Share = 0.31;
// Published of TensorRT-LLM on B200s, whose ranks divide pictures too: 2.72 s on one, 1.72, 1.04 and 0.83 on 2, 4 and 8.
constexpr double kVaeUndivided = 0.2;

// Bytes that the passes between a block's products read and write of each number of a token (docs/performance.md): three norms with
// modulation (f32 in, bf16 out), three RMS norms (bf16), three gated residuals (f32 in and out, bf16 in).
constexpr double kPassBytes = 3 * (6 + 4 + 10);
constexpr double kExchangedTensors = 4;  // queries, keys, values, results
constexpr double kBf16 = 2;

/// How much more the rank with most heads has to do than an even share: 14 of 40 heads on 3 GPUs.
double unevenness(const PassWork& work, int ulysses) {
  const std::int64_t most = (work.heads + ulysses - 1) / ulysses;
  return static_cast<double>(most * ulysses) / static_cast<double>(work.heads);
}

double mean_block_bytes(const WanConfig& config) {
  const BlockLayout layout = wan_block_layout(config);
  double bytes = 0;
  for (int block = 0; block < config.num_layers; ++block)
    bytes += static_cast<double>(block_bytes(layout, DType::kBF16, block));
  return bytes / static_cast<double>(config.num_layers);
}

}  // namespace

GpuRates rates_of(const KnownGpu& gpu, GpuLink link) {
  const Shares shares = shares_of(gpu.kind);
  const double ceiling = gpu.tensor_teraflops * 1e12;
  return {.attention_flops = shares.attention * ceiling,
          .product_flops = shares.products * ceiling,
          .tensor_flops = ceiling,
          .memory_bytes = kMemoryShare * gpu.memory_gigabytes * 1e9,
          .link_bytes = link == GpuLink::kNvlink ? kNvlinkShare * gpu.nvlink_gigabytes * 1e9
                        : link == GpuLink::kPcie ? kPcieBytes
                                                 : kHostBytes,
          .upload_bytes = kUploadBytes};
}

PassWork pass_work(const WanConfig& config, const Shape& latent) {
  const std::int64_t tokens =
      latent[1] / config.patch[0] * (latent[2] / config.patch[1]) * (latent[3] / config.patch[2]);
  const auto row = static_cast<double>(config.dim);
  const auto rows = static_cast<double>(tokens * config.num_layers);
  // A block's products: queries, keys, values and output, queries and output to the text, feed-forward; and attention to the text.
  const double products = 12 * row * row + 4 * row * static_cast<double>(config.ffn_dim) +
                          4 * row * static_cast<double>(config.text_len);
  return {.tokens = tokens,
          .layers = config.num_layers,
          .heads = config.num_heads,
          .attention_flops = 4 * rows * static_cast<double>(tokens) * row,
          .product_flops = rows * products,
          .memory_bytes = kPassBytes * rows * row,
          .row_bytes = kBf16 * row,
          .block_bytes = mean_block_bytes(config)};
}

double pass_seconds(const PassWork& work, const GpuRates& rates) {
  return work.attention_flops / rates.attention_flops + work.product_flops / rates.product_flops +
         work.memory_bytes / rates.memory_bytes;
}

double exchanged_bytes(const PassWork& work, int ulysses) {
  const double ranks = ulysses;
  return kExchangedTensors * static_cast<double>(work.tokens * work.layers) * work.row_bytes * (ranks - 1) /
         (ranks * ranks);
}

StepSeconds step_seconds(const PassWork& work, const StepLayout& layout, const GpuRates& rates) {
  const double passes = 2.0 / layout.ranks.groups;  // that a GPU has a part in
  PassWork share = work;
  share.attention_flops *= unevenness(work, layout.ranks.sequence) / layout.ranks.sequence;
  share.product_flops /= layout.ranks.sequence;
  share.memory_bytes /= layout.ranks.sequence;
  StepSeconds step{.computing = passes * pass_seconds(share, rates),
                   .exchanging = passes * exchanged_bytes(work, layout.ranks.sequence) / rates.link_bytes};
  const double gpus = layout.ranks.ranks();
  double blocks = 0;
  if (layout.sharded) blocks = work.block_bytes * (gpus - 1) / gpus / rates.link_bytes;
  blocks += layout.streamed * work.block_bytes * gpus / rates.upload_bytes;
  step.waiting = std::max(0.0, static_cast<double>(work.layers) * blocks - step.computing);
  return step;
}

double vae_seconds(VaeKind vae, std::int64_t flops, const GpuRates& rates, int gpus) {
  const double share = vae == VaeKind::kVae21 ? kVae21Share : kVae22Share;
  const double part = kVaeUndivided + (1 - kVaeUndivided) / gpus;
  return part * static_cast<double>(flops) / (share * rates.tensor_flops);
}

}  // namespace wan
