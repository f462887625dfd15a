// libFuzzer entry of tokenizer.json: any bytes give a tokenizer that encodes any text, or a wan::Error.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "tokenizers/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto tokenizer = wan::parse_tokenizer_json({reinterpret_cast<const char*>(data), size});
    for (std::string_view text : {"", "a red  circle </s> <extra_id_7>x",
                                  "\u1ebd\u0301 \u6f22\u5b57 \U0001F3F3\uFE0F\u200D\U0001F308"})
      (void)tokenizer->encode(text);
  } catch (const wan::Error&) {
  }
  return 0;
}
