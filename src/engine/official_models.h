#pragma once
// Dimensions of the published models, which tell what their checkpoints would hold: for measurements without a download.

#include "engine/model_shapes.h"
#include "request/tasks.h"
#include "wan/request.h"

namespace wan {

/// config.json of the task's published transformers.
WanConfig official_transformer(const TaskInfo& task);
Umt5Config official_text_encoder();
VaeConfig official_vae(const TaskInfo& task);
ModelShapes official_models(const TaskInfo& task, const VaePrecision& precision);

/// Latents [z, F, h, w] of a video that the task's published models can make. Throws InvalidArgument for another size or number of
/// frames.
Shape official_latent(const TaskInfo& task, const VideoSize& size, int frame_num);

}  // namespace wan
