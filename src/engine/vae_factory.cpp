#include "engine/vae_factory.h"

#include "models/vae21/vae21.h"

namespace wan {

std::unique_ptr<VideoVae> make_vae(const WeightScope& scope) {
  return std::make_unique<Vae21>(scope);
}

}  // namespace wan
