// libFuzzer target: the index of a sharded checkpoint. Everything but wan::Error is a finding, and so is a
// shard outside the folder.

#include <cstdint>
#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "weights/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    for (const auto& [tensor, shard] : wan::parse_safetensors_index(bytes, "fuzz.safetensors.index.json")) {
      const std::filesystem::path path(shard);
      if (path.empty() || path.is_absolute()) std::abort();
      for (const std::filesystem::path& part : path)
        if (part == "..") std::abort();
    }
  } catch (const wan::Error&) {
  }
  return 0;
}
