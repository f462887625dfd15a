#include "engine/fingerprint.h"

#include <algorithm>
#include <span>

#include "base/fnv_hash.h"

namespace wan {

namespace {

constexpr std::size_t kSampledTensors = 32;
constexpr std::size_t kSampleBytes = 4096;

}  // namespace

std::uint64_t fingerprint_of(const Checkpoint& checkpoint) {
  FnvHash hash;
  const std::span<const TensorEntry> entries = checkpoint.entries();
  for (const TensorEntry& entry : entries) {
    hash.add(entry.name);
    hash.add(dtype_name(entry.dtype));
    hash.add(entry.shape.to_string());
    if (entry.scales != nullptr) hash.add(std::as_bytes(std::span(entry.scales->values)));
  }
  const std::size_t step = std::max<std::size_t>(1, entries.size() / kSampledTensors);
  for (std::size_t i = 0; i < entries.size(); i += step) {
    const TensorEntry& entry = entries[i];
    const std::span<const std::byte> values = entry.storage;
    const std::size_t middle = values.size() / 2;
    hash.add(values.subspan(middle, std::min(kSampleBytes, values.size() - middle)));
    checkpoint.check_read(entry);
  }
  return hash.value();
}

std::vector<std::pair<std::string, std::uint64_t>> checkpoint_fingerprint(const CheckpointModels& models) {
  std::vector<std::pair<std::string, std::uint64_t>> parts;
  for (const Checkpoint* checkpoint : models.checkpoints())
    parts.emplace_back(checkpoint->path(), fingerprint_of(*checkpoint));
  return parts;
}

}  // namespace wan
