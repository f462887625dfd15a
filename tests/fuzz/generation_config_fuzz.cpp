// generation_config.json from any bytes: values or an Error, nothing else.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "tasks/model_defaults.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    wan::parse_model_defaults("t2v-A14B", text, "fuzz");
  } catch (const wan::Error&) {
  }
  return 0;
}
