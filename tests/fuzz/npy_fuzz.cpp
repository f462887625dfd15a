// libFuzzer entry of the .npy reader: any bytes give a view that lies within them, or a wan::Error.

#include <cstddef>
#include <cstdint>
#include <span>

#include "media/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const wan::NpyView view = wan::parse_npy(std::as_bytes(std::span(data, size)), "input");
    if (view.type == wan::NpyType::kF64) {
      (void)view.values<double>();
    } else if (view.type == wan::NpyType::kU8) {
      (void)view.values<std::uint8_t>();
    }
  } catch (const wan::Error&) {
  }
  return 0;
}
