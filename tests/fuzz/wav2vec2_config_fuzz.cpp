// An audio encoder's config.json from any bytes: values that can be computed with, or an Error.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "models/wav2vec2/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const wan::Wav2Vec2Config config = wan::parse_wav2vec2_config(text, "fuzz");
    if (config.states(config.receptive_field()) != 1 || config.hop() < 1) std::abort();
  } catch (const wan::Error&) {
  }
  return 0;
}
