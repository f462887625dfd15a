#pragma once
// Dimensions of the published models that several tasks share, for plans and measurements without a download.

#include "models/umt5/umt5_encoder.h"
#include "models/wan/config.h"
#include "models/wav2vec2/config.h"
#include "tasks/task.h"
#include "tasks/vae_config.h"
#include "wan/request.h"

namespace wan {

/// wan/configs/shared_config.py of the official code.
extern const char* const kOfficialNegativePrompt;

/// A transformer of Wan's 14B size that takes `in_dim` latent channels.
WanConfig official_14b(std::string_view model_type, std::int64_t in_dim);
Umt5Config official_text_encoder();
/// wav2vec2-large-xlsr-53.
Wav2Vec2Config official_audio_encoder();
VaeConfig official_vae(const Task& task);

/// Latents [z, F, h, w] of a video that the task's published models can make. Throws InvalidArgument for another size or number of
/// frames.
Shape official_latent(const Task& task, const VideoSize& size, int frame_num);

}  // namespace wan
