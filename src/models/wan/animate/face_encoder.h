#pragma once
// What the face of a clip becomes for the transformer: the official face_encoder.

#include "models/wan/animate/weights.h"
#include "ops/exec_context.h"

namespace wan {

/// motion [4 n + 1, motion_dim] f32, a vector a video frame -> tokens [2 + n, face_heads + 1, dim] f32 on the device, a latent frame's,
/// the padding token last; those of the first latent frame, the picture's, are zeros. Tap face_encoder: the others.
Tensor encode_face(ExecContext& ctx, const WanConfig& config, const FaceEncoderWeights& weights,
                   const TensorView& motion, const std::string& tap_prefix);

}  // namespace wan
