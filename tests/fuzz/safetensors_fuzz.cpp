// libFuzzer target: a safetensors file. Everything but wan::Error is a finding, and so is a tensor outside
// the file.

#include <cstdint>
#include <cstdlib>

#include "base/error.h"
#include "weights/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    for (const wan::TensorEntry& tensor : wan::parse_safetensors(bytes, "fuzz.safetensors").tensors) {
      if (tensor.storage.size() != tensor.bytes()) std::abort();
      for (const std::byte byte : tensor.storage) {
        volatile std::byte read = byte;
        (void)read;
      }
    }
  } catch (const wan::Error&) {
  }
  return 0;
}
