// libFuzzer target: a safetensors file. Everything but wan::Error is a finding, and so is a tensor outside
// the file, or one that cannot be converted once it has its scales.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "base/error.h"
#include "weights/convert.h"
#include "weights/packed_source.h"
#include "weights/safetensors.h"
#include "weights/scaled_weights.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    std::vector<wan::CheckpointFile> files;
    files.push_back(wan::parse_safetensors(bytes, "fuzz.safetensors"));
    for (const wan::TensorEntry& tensor : files[0].tensors) {
      if (tensor.storage.size() != tensor.bytes()) std::abort();
      for (const std::byte byte : tensor.storage) {
        volatile std::byte read = byte;
        (void)read;
      }
    }
    wan::attach_scales(files, "fuzz.safetensors");
    for (const wan::TensorEntry& tensor : files[0].tensors) {
      if (!tensor.is_weight() || tensor.elements() == 0) continue;
      const wan::Tensor values(wan::DType::kF32, {std::min<std::int64_t>(tensor.elements(), 4096)});
      wan::convert_part(tensor, tensor.elements() - values.elements(), values);
      if (const auto packed = wan::packed_dtype_of(tensor)) {
        std::vector<std::byte> last(3);
        const std::size_t length = wan::dtype_bytes(*packed, tensor.elements());
        wan::read_packed(tensor, *packed, length - 3, 3, last.data());
      }
    }
  } catch (const wan::Error&) {
  }
  return 0;
}
