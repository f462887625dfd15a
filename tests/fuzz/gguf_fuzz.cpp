// libFuzzer target: a GGUF file. Everything but wan::Error is a finding, and so is a tensor outside the file, or values that cannot be
// unpacked.

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "base/error.h"
#include "weights/convert.h"
#include "weights/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    for (const auto& [key, texts] : wan::parse_gguf_lists(bytes, "fuzz.gguf").texts)
      for (const std::string_view text : texts)
        if (text.size() > size) std::abort();
    for (const wan::TensorEntry& tensor : wan::parse_gguf(bytes, "fuzz.gguf").tensors) {
      if (tensor.storage.size() != tensor.bytes()) std::abort();
      for (const std::byte byte : tensor.storage) {
        volatile std::byte read = byte;
        (void)read;
      }
      if (!tensor.is_weight() || tensor.elements() == 0) continue;
      const wan::Tensor values(wan::DType::kF32, {std::min<std::int64_t>(tensor.elements(), 4096)});
      wan::convert_part(tensor, tensor.elements() - values.elements(), values);
    }
  } catch (const wan::Error&) {
  }
  return 0;
}
