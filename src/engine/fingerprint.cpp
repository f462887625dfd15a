#include "engine/fingerprint.h"

#include <algorithm>
#include <span>

namespace wan {

namespace {

constexpr std::size_t kSampledTensors = 32;
constexpr std::size_t kSampleBytes = 4096;

/// FNV-1a.
class Hash {
 public:
  void add(std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes) value_ = (value_ ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3u;
  }
  void add(std::string_view text) { add(std::as_bytes(std::span(text.data(), text.size()))); }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325u;
};

std::uint64_t hash_of(const Checkpoint& checkpoint) {
  Hash hash;
  const std::span<const TensorEntry> entries = checkpoint.entries();
  for (const TensorEntry& entry : entries) {
    hash.add(entry.name);
    hash.add(dtype_name(entry.dtype));
    hash.add(entry.shape.to_string());
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

}  // namespace

std::vector<std::pair<std::string, std::uint64_t>> checkpoint_fingerprint(const CheckpointModels& models) {
  std::vector<std::pair<std::string, std::uint64_t>> parts;
  const auto add = [&](const Checkpoint& checkpoint) {
    parts.emplace_back(checkpoint.path(), hash_of(checkpoint));
  };
  for (const Checkpoint& checkpoint : models.transformer_checkpoints) add(checkpoint);
  add(models.text_checkpoint);
  add(models.vae_checkpoint);
  return parts;
}

}  // namespace wan
