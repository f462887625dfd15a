// Any bytes as a byte-level tokenizer.json, and text through what it gives.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tokenizers/byte_level_tokenizer.h"
#include "wan/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto tokenizer = wan::parse_byte_level_tokenizer({reinterpret_cast<const char*>(data), size});
    static_cast<void>(tokenizer.decode(tokenizer.encode("A cat's 12 lives,\n\n e\xcc\x81  <|im_end|>")));
  } catch (const wan::Error&) {  // refused
  }
  return 0;
}
