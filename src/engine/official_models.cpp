#include "engine/official_models.h"

namespace wan {

WanConfig official_transformer(const TaskInfo& task) {
  WanConfig config{.model_type = std::string(task.model_type),
                   .dim = 5120,
                   .ffn_dim = 13824,
                   .freq_dim = 256,
                   .in_dim = 16,
                   .out_dim = 16,
                   .num_heads = 40,
                   .num_layers = 40,
                   .text_len = 512,
                   .text_dim = 4096,
                   .patch = {1, 2, 2},
                   .eps = 1e-6f};
  if (task.image == ImageUse::kRequired) config.in_dim = 36;  // and a mask of 4, and 16 of the image
  if (uses_vae22(task)) {
    config.dim = 3072;
    config.ffn_dim = 14336;
    config.in_dim = config.out_dim = 48;
    config.num_heads = 24;
    config.num_layers = 30;
  }
  return config;
}

bool uses_vae22(const TaskInfo& task) {
  return task.transformers == 1;
}

Umt5Config official_text_encoder() {
  return {.vocabulary = 256384,
          .dim = 4096,
          .dim_attention = 4096,
          .dim_ffn = 10240,
          .num_heads = 64,
          .num_layers = 24,
          .num_buckets = 32};
}

namespace {

VaeLevels official_levels() {
  return {.multipliers = {1, 2, 4, 4}, .res_blocks = 2, .halves_time = {false, true, true}};
}

}  // namespace

Vae21Config official_vae21() {
  return {.dim = 96, .z_dim = 16, .levels = official_levels()};
}

Vae22Config official_vae22() {
  Vae22Config config;
  config.encoder_dim = 160;
  config.decoder_dim = 256;
  config.z_dim = 48;
  config.levels = official_levels();
  return config;
}

}  // namespace wan
