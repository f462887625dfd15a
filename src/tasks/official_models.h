#pragma once
// Dimensions of the published models that several tasks share, for plans and measurements without a download.

#include "models/umt5/umt5_encoder.h"
#include "models/vae21/config.h"
#include "models/vae22/config.h"
#include "models/wan/config.h"
#include "wan/request.h"

namespace wan {

/// wan/configs/shared_config.py of the official code.
extern const char* const kOfficialNegativePrompt;

/// A transformer of Wan's 14B size that takes `in_dim` latent channels.
WanConfig official_14b(std::string_view model_type, std::int64_t in_dim);
Umt5Config official_text_encoder();
Vae21Config official_vae21();
Vae22Config official_vae22();

}  // namespace wan
