#include "models/sam2/config.h"

#include <algorithm>
#include <optional>
#include <string>

#include "base/error.h"

namespace wan::sam2 {

namespace {

constexpr const char* kRemedy = "use the sam2_hiera_large.pt of the official process_checkpoint/sam2";
constexpr std::int64_t kMostChannels = 1 << 14;
constexpr int kMostBlocks = 256;

/// A published trunk: how it is told, and its settings.
struct Size {
  const char* name;
  std::int64_t channels;
  std::vector<std::int64_t> stages;  // blocks of each
  std::int64_t first_heads;
  std::vector<std::int64_t> windows;
  std::vector<std::int64_t> global_blocks;
};

const std::vector<Size>& published_sizes() {
  static const std::vector<Size> sizes{{"tiny", 96, {1, 2, 7, 2}, 1, {8, 4, 14, 7}, {5, 7, 9}},
                                       {"small", 96, {1, 2, 11, 2}, 1, {8, 4, 14, 7}, {7, 10, 13}},
                                       {"base_plus", 112, {2, 3, 16, 3}, 2, {8, 4, 14, 7}, {12, 16, 20}},
                                       {"large", 144, {2, 6, 36, 4}, 2, {8, 4, 16, 8}, {23, 33, 43}}};
  return sizes;
}

std::string file_of(const WeightScope& top) {
  return top.report().checkpoint().path();
}

/// The extent of a tensor's dimension. Throws BadFile where it is not 1..kMostChannels, or the tensor is missing.
std::int64_t channels_of(const WeightScope& scope, const std::string& name, int rank, int dimension) {
  const std::int64_t channels = scope.require_shape(name, rank, kRemedy)[dimension];
  WAN_CHECK(channels >= 1 && channels <= kMostChannels, kBadFile, "{}: {} has {} channels; {}",
            file_of(scope), scope.full_name(name), channels, kRemedy);
  return channels;
}

void refuse_other_versions(const WeightScope& top) {
  const std::string file = file_of(top);
  WAN_CHECK(!top.has("no_obj_embed_spatial") && !top.has("obj_ptr_tpos_proj.weight"), kUnsupported,
            "{}: this is a SAM 2.1; masks are made with SAM 2.0, as officially: {}", file, kRemedy);
  WAN_CHECK(!top.has("backbone.vision_backbone.trunk.patch_embed.proj.weight") &&
                !top.has("detector.backbone.vision_backbone.trunk.patch_embed.proj.weight"),
            kUnsupported, "{}: this is a SAM 3; masks are made with SAM 2.0, as officially: {}", file,
            kRemedy);
  WAN_CHECK(!top.has("image_encoder.patch_embed.proj.weight"), kUnsupported,
            "{}: this is the first SAM, which knows no video; masks are made with SAM 2.0: {}", file,
            kRemedy);
  WAN_CHECK(!top.has("vision_encoder.backbone.patch_embed.projection.weight"), kUnsupported,
            "{}: this is a SAM 2 under transformers' names; use the official file: {}", file, kRemedy);
}

/// Blocks with channels alone.
std::vector<BlockConfig> read_blocks(const WeightScope& trunk) {
  const int count = trunk.count_children("blocks");
  WAN_CHECK(count >= 1 && count <= kMostBlocks, kBadFile, "{}: an image encoder of {} blocks; {}",
            file_of(trunk), count, kRemedy);
  std::vector<BlockConfig> blocks;
  std::int64_t width = channels_of(trunk, "patch_embed.proj.weight", 4, 0);
  for (int i = 0; i < count; ++i) {
    const WeightScope block = trunk.child("blocks." + std::to_string(i));
    const std::int64_t out = channels_of(block, "norm2.weight", 1, 0);
    blocks.push_back({.in = width,
                      .out = out,
                      .hidden = channels_of(block, "mlp.layers.0.weight", 2, 0),
                      .heads = 0,
                      .window = 0,
                      .halves = out != width});
    width = out;
  }
  return blocks;
}

std::vector<std::int64_t> blocks_of_stages(const std::vector<BlockConfig>& blocks) {
  std::vector<std::int64_t> stages{0};
  for (const BlockConfig& block : blocks) {
    if (block.halves) stages.push_back(0);
    ++stages.back();
  }
  return stages;
}

/// The heads and windows of each block.
void set_attention(Config& config, const std::string& file) {
  const Settings& settings = config.settings;
  std::size_t stage = 0;
  std::int64_t side = settings.image_size / 4;
  for (std::size_t i = 0; i < config.blocks.size(); ++i) {
    BlockConfig& block = config.blocks[i];
    // The first block of a stage has the windows of the stage before, of which it makes those of its own.
    const bool global = std::ranges::find(settings.global_blocks, static_cast<std::int64_t>(i)) !=
                        settings.global_blocks.end();
    block.window = global ? 0 : settings.windows[stage];
    if (block.halves) {
      config.stage_ends.push_back(static_cast<int>(i) - 1);
      config.stage_channels.push_back(block.in);
      ++stage;
    }
    block.heads = settings.first_heads << stage;
    WAN_CHECK(block.out % block.heads == 0 && (!block.halves || (side % 2 == 0 && block.window % 2 == 0)),
              kBadFile, "{}: block {} has {} channels for {} heads and windows of {}; {}", file, i, block.out,
              block.heads, block.window, kRemedy);
    if (block.halves) side /= 2;
  }
  config.stage_ends.push_back(static_cast<int>(config.blocks.size()) - 1);
  config.stage_channels.push_back(config.blocks.back().out);
}

void read_memory(Config& config, const WeightScope& top) {
  config.memories = channels_of(top, "maskmem_tpos_enc", 4, 0);
  config.memory_dim = channels_of(top, "maskmem_tpos_enc", 4, 3);
  config.memory_layers = top.count_children("memory_attention.layers");
  config.memory_hidden = channels_of(top, "memory_attention.layers.0.linear1.weight", 2, 0);
  const WeightScope encoder = top.child("memory_encoder");
  config.mask_channels = {1};
  // Convolutions are 0, 3, 6, ..; the last is no 3x3 one.
  const WeightScope masks = encoder.child("mask_downsampler.encoder");
  for (int i = 0; config.mask_channels.size() < 16; i += 3) {
    const std::string name = std::to_string(i) + ".weight";
    const std::optional<Shape> shape = masks.shape_of(name);
    if (!shape || shape->rank() != 4 || (*shape)[2] == 1) break;
    config.mask_channels.push_back(channels_of(masks, name, 4, 0));
  }
  config.fuser_layers = encoder.count_children("fuser.layers");
  config.fuser_kernel = channels_of(encoder, "fuser.layers.0.dwconv.weight", 4, 2);
  config.fuser_hidden = channels_of(encoder, "fuser.layers.0.pwconv1.weight", 2, 0);
}

void read_decoder(Config& config, const WeightScope& decoder) {
  config.decoder_layers = decoder.count_children("transformer.layers");
  config.decoder_hidden = channels_of(decoder, "transformer.layers.0.mlp.layers.0.weight", 2, 0);
  config.decoder_inner =
      channels_of(decoder, "transformer.layers.0.cross_attn_token_to_image.q_proj.weight", 2, 0);
  config.mask_tokens = channels_of(decoder, "mask_tokens.weight", 2, 0);
  config.quality_layers = decoder.count_children("iou_prediction_head.layers");
  config.quality_hidden = channels_of(decoder, "iou_prediction_head.layers.0.weight", 2, 0);
}

void check_numbers(const Config& config, const std::string& file) {
  const std::int64_t dim = config.dim, heads = config.settings.decoder_heads;
  WAN_CHECK(dim % 8 == 0 && dim % heads == 0 && config.decoder_inner % heads == 0 &&
                dim % (4 * config.settings.memory_heads) == 0 && config.memory_dim % 4 == 0 &&
                dim % config.memory_dim == 0,
            kBadFile, "{}: {} channels, {} of memories, {} in the decoder's attention; {}", file, dim,
            config.memory_dim, config.decoder_inner, kRemedy);
  WAN_CHECK(
      config.memory_layers >= 1 && config.decoder_layers >= 1 && config.quality_layers >= 1 &&
          config.fuser_layers >= 1 && config.fuser_kernel % 2 == 1 && config.fuser_kernel <= 31 &&
          config.mask_channels.size() == 5 && config.mask_tokens == 4 && config.memories >= 2 &&
          config.memories <= 64,
      kBadFile,
      "{}: {} memory layers, {} and {} decoder layers, {} fusing layers of {} taps, {} mask convolutions, "
      "{} masks, "
      "{} memories; {}",
      file, config.memory_layers, config.decoder_layers, config.quality_layers, config.fuser_layers,
      config.fuser_kernel, config.mask_channels.size() - 1, config.mask_tokens, config.memories, kRemedy);
}

}  // namespace

Config read_config(const WeightScope& top) {
  refuse_other_versions(top);
  const std::vector<BlockConfig> blocks = read_blocks(top.child("image_encoder.trunk"));
  const std::vector<std::int64_t> stages = blocks_of_stages(blocks);
  for (const Size& size : published_sizes()) {
    if (size.channels != blocks.front().in || size.stages != stages) continue;
    Settings settings;
    settings.first_heads = size.first_heads;
    settings.windows = size.windows;
    settings.global_blocks = size.global_blocks;
    return read_config(top, settings);
  }
  std::string found;
  for (const std::int64_t stage : stages) found += (found.empty() ? "" : ", ") + std::to_string(stage);
  fail(ErrorCode::kUnsupported,
       "{}: an image encoder of {} channels and stages of {} blocks is none of SAM 2's published sizes; {}",
       file_of(top), blocks.front().in, found, kRemedy);
}

Config read_config(const WeightScope& top, const Settings& settings) {
  refuse_other_versions(top);
  const std::string file = file_of(top);
  const WeightScope trunk = top.child("image_encoder.trunk");
  Config config{};
  config.settings = settings;
  config.blocks = read_blocks(trunk);
  const std::size_t stages = blocks_of_stages(config.blocks).size();
  WAN_CHECK(stages == 4 && settings.windows.size() == stages && settings.image_size % 32 == 0, kBadFile,
            "{}: an image encoder of {} stages, for pictures of {} pixels; {}", file, stages,
            settings.image_size, kRemedy);
  set_attention(config, file);
  config.position_grid = channels_of(trunk, "pos_embed", 4, 2);
  config.position_window = channels_of(trunk, "pos_embed_window", 4, 2);
  WAN_CHECK(settings.image_size / 4 % config.position_window == 0, kBadFile,
            "{}: a position window of {} tokens in a picture of {}; {}", file, config.position_window,
            settings.image_size / 4, kRemedy);
  config.dim = channels_of(top, "image_encoder.neck.convs.0.conv.weight", 4, 0);
  read_memory(config, top);
  read_decoder(config, top.child("sam_mask_decoder"));
  check_numbers(config, file);
  return config;
}

}  // namespace wan::sam2
