#pragma once
// Writes float tensors as a safetensors file: 8 bytes of header length, a JSON header padded with spaces to a
// multiple of 8 bytes, then the tensors' bytes without gaps.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "media/metadata.h"

namespace wan {

struct SafetensorsEntry {
  std::string name;
  std::vector<std::int64_t> shape;
  std::span<const float> values;  // C order
};

/// Writes `entries` in their order, and `metadata` as the header's string map. The file appears when whole, and check(), if any, has
/// not thrown; `earlier`: see AtomicFile::commit().
/// Throws InvalidArgument for a repeated or reserved name or values that do not fit their shape, and Io.
void write_safetensors(const std::filesystem::path& path, std::span<const SafetensorsEntry> entries,
                       const Metadata& metadata, const std::filesystem::path& earlier = {},
                       const std::function<void()>& check = {});

}  // namespace wan
