// A language model's config.json and generation_config.json from any bytes: values that can be computed with, or an Error.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "models/qwen/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const wan::QwenConfig config = wan::parse_qwen_config(text, "fuzz");
    if (config.query_dim() < 1 || config.key_dim() < 1 || config.num_heads % config.num_key_heads != 0)
      std::abort();
    if (config.vision && config.vision->patch_values() < 1) std::abort();
  } catch (const wan::Error&) {
  }
  try {
    static_cast<void>(wan::parse_sampling_config(text, "fuzz"));
  } catch (const wan::Error&) {
  }
  return 0;
}
