// libFuzzer entry of the prompt cleaning: any bytes give UTF-8 text, which cleaning leaves valid, or a wan::Error.

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.h"
#include "cleaning/prompt_cleaning.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string cleaned;
  try {
    cleaned = wan::clean_prompt({reinterpret_cast<const char*>(data), size});
  } catch (const wan::Error&) {
    return 0;
  }
  (void)wan::clean_prompt(cleaned);
  return 0;
}
