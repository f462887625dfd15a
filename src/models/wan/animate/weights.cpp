#include "models/wan/animate/weights.h"

namespace wan {

using enum WeightDType;

void ImageEmbeddingWeights::visit(const WeightVisitor& at, std::int64_t image_dim, std::int64_t dim) {
  norm_in.visit(at.child("0"), image_dim);
  in.visit(at.child("1"), {.in = image_dim, .out = image_dim, .dtype = kFloat32});
  out.visit(at.child("3"), {.in = image_dim, .out = dim, .dtype = kFloat32});
  norm_out.visit(at.child("4"), dim);
}

void FaceEncoderWeights::visit(const WeightVisitor& at, const WanConfig& config) {
  const AnimateConfig& animate = *config.animate;
  in.visit(at.child("conv1_local"), animate.motion_dim, animate.face_heads * animate.face_dim);
  middle.visit(at.child("conv2"), animate.face_dim, animate.face_dim);
  last.visit(at.child("conv3"), animate.face_dim, animate.face_dim);
  out.visit(at.child("out_proj"), {.in = animate.face_dim, .out = config.dim, .dtype = kFloat32});
  at.tensor("padding_tokens", padding_token, {1, 1, 1, config.dim}, kFloat32);
}

void AnimateWeights::visit(const WeightVisitor& at, const WanConfig& config) {
  pose.visit(at.child("pose_patch_embedding"), config.animate->pose_dim, config.patch, config.dim);
  image.visit(at.child("img_emb.proj"), config.animate->image_dim, config.dim);
  face.visit(at.child("face_encoder"), config);
}

void FaceBlockWeights::visit(const WeightVisitor& at, const WanConfig& config) {
  const WeightVisitor block = at.child("face_adapter.fuser_blocks.{i}");
  key_value.visit(block.child("linear1_kv"), {.in = config.dim, .out = 2 * config.dim});
  query.visit(block.child("linear1_q"), {.in = config.dim, .out = config.dim});
  output.visit(block.child("linear2"), {.in = config.dim, .out = config.dim});
  block.tensor("q_norm.weight", norm_query, {config.head_dim()}, kFloat32);
  block.tensor("k_norm.weight", norm_key, {config.head_dim()}, kFloat32);
}

}  // namespace wan
