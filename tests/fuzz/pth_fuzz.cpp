// libFuzzer target: a PyTorch zip (first byte even), or its pickle alone in an archive that is sound (odd),
// since mutations of a whole archive seldom get as far as the pickle. Everything but wan::Error is a finding,
// and so is a tensor outside the file.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "format/file_builder.h"
#include "weights/convert.h"
#include "weights/pth.h"

namespace {

void check(std::span<const std::byte> bytes) {
  try {
    for (const wan::TensorEntry& tensor : wan::parse_pth(bytes, "fuzz.pth").tensors) {
      if (tensor.elements() == 0) continue;
      if (tensor.bytes() > tensor.storage.size() || tensor.storage.data() < bytes.data() ||
          tensor.storage.data() + tensor.storage.size() > bytes.data() + bytes.size())
        std::abort();
      // Reads every element, whatever the strides.
      const wan::Tensor copy(tensor.dtype, tensor.shape);
      wan::convert(tensor, copy, {.threads = 1});
    }
  } catch (const wan::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  if (data[0] % 2 == 0) {
    check(bytes);
    return 0;
  }
  wan::ZipBuilder zip;
  zip.entries = {
      {.name = "a/data.pkl", .data = std::string(reinterpret_cast<const char*>(data) + 1, size - 1)},
      {.name = "a/data/0", .data = std::string(24, 'x')},
      {.name = "a/data/1", .data = std::string(96, 'y')}};
  const std::string file = zip.build();
  check(wan::as_byte_span(file));
  return 0;
}
