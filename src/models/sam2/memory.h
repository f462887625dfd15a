#pragma once
// What SAM 2 remembers of frames, and how a frame's picture is seen in its light.

#include <map>
#include <span>
#include <vector>

#include "models/sam2/weights.h"
#include "ops/exec_context.h"

namespace wan::sam2 {

/// What is kept of a frame, on the device.
struct FrameMemory {
  Tensor features;  // [grid * grid, memory_dim] bf16
  Tensor pointer;   // [1, dim] f32
};

/// The memories that are asked for again. Key frames' stay; of the others those that a later frame attends to.
class MemoryBank {
 public:
  explicit MemoryBank(const Config& config) : config_(config) {}

  void add_key(std::int64_t frame, FrameMemory memory);
  /// Of a frame that is no key frame, in order.
  void add(std::int64_t frame, FrameMemory memory);

  /// A memory and its place in time: 0 for key frames, 1 for the oldest of the frames before, and so on.
  struct Seen {
    const Tensor* features;
    std::int64_t place;
  };
  /// What frame `frame` of a chunk of `frames` attends to.
  std::vector<Seen> memories_for(std::int64_t frame) const;
  std::vector<const Tensor*> pointers_for(std::int64_t frame, std::int64_t frames) const;
  /// Memories and pointers that are kept.
  std::size_t kept() const { return keys_.size() + recent_.size(); }

 private:
  Config config_;
  std::map<std::int64_t, FrameMemory> keys_;
  std::map<std::int64_t, FrameMemory> recent_;  // features are empty where they are too old
};

/// Makes a frame's memory of its picture and its mask.
class MemoryEncoder {
 public:
  MemoryEncoder(const Config& config, const WeightScope& top);

  /// picture [grid * grid, dim], mask [image_size, image_size] as to_remember() leaves it, out [grid * grid, memory_dim] f32 or bf16.
  /// Tap: "memory_encoder", before it is rounded.
  void encode(ExecContext& ctx, const TensorView& picture, const TensorView& mask,
              const TensorView& out) const;

 private:
  void shrink_mask(ExecContext& ctx, const TensorView& mask, const TensorView& out) const;
  void fuse(ExecContext& ctx, std::size_t layer, const TensorView& x) const;

  Config config_;
  LoadedWeights<MemoryEncoderWeights> weights_;
  std::vector<Convolution> mask_convolutions_;
  std::vector<LoadedWeights<FuserLayerWeights>> fuser_;
  std::vector<Convolution> fuser_convolutions_;
};

/// Adds to a picture what memories say.
class MemoryAttention {
 public:
  MemoryAttention(const Config& config, const WeightScope& top);

  /// picture [grid * grid, dim] -> out of its shape. Tap: "memory_attention".
  void attend(ExecContext& ctx, const TensorView& picture, std::span<const MemoryBank::Seen> memories,
              std::span<const Tensor* const> pointers, const TensorView& out) const;

 private:
  struct Layer {
    LoadedWeights<MemoryLayerWeights> weights;
    RotatedProjection self_query, self_key, cross_query, cross_key;
  };
  /// Values, and keys before their projection: [memories grid * grid + pointers' tokens, memory_dim] each.
  void gather(ExecContext& ctx, std::span<const MemoryBank::Seen> memories,
              std::span<const Tensor* const> pointers, const TensorView& values,
              const TensorView& keys) const;
  /// Queries of a picture, keys of so many tokens, of which the first `pictures` pictures' are rotated.
  void run_attention(ExecContext& ctx, const TensorView& queries, const TensorView& keys,
                     const TensorView& values, std::int64_t pictures, const TensorView& out) const;
  void run_layer(ExecContext& ctx, const Layer& layer, const TensorView& values, const TensorView& keys,
                 std::int64_t pictures, const TensorView& x) const;

  Config config_;
  std::vector<Layer> layers_;
  LayerNormWeights norm_;
  Tensor norm_weight_, norm_bias_;
  Tensor picture_positions_;  // [grid * grid, dim], a tenth of the sines
  Tensor memory_positions_;   // [memories, grid * grid, memory_dim], of each place in time
  Tensor rotations_;          // [grid * grid, head / 2, 2]
};

}  // namespace wan::sam2
