#pragma once
// Dimensions of the published models, which tell what their checkpoints would hold: for measurements without a download.

#include "models/umt5/umt5_encoder.h"
#include "models/vae21/config.h"
#include "models/vae22/config.h"
#include "models/wan/config.h"
#include "request/tasks.h"

namespace wan {

/// config.json of the task's published transformers.
WanConfig official_transformer(const TaskInfo& task);
/// Whether the task's published checkpoint has VAE 2.2; VAE 2.1 otherwise.
bool uses_vae22(const TaskInfo& task);
Umt5Config official_text_encoder();
Vae21Config official_vae21();
Vae22Config official_vae22();

}  // namespace wan
