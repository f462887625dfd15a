#include "media/safetensors_writer.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/checked_math.h"
#include "base/error.h"
#include "json/json_text.h"
#include "media/raw_file.h"

namespace wan {

namespace {

std::string header_of(std::span<const SafetensorsEntry> entries, const Metadata& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  auto& map = header["__metadata__"] = nlohmann::ordered_json::object();
  for (const auto& [key, value] : metadata) map[key] = value;
  std::int64_t offset = 0;
  for (const SafetensorsEntry& entry : entries) {
    WAN_CHECK(!entry.name.empty() && !header.contains(entry.name), kInvalidArgument,
              "[safetensors] expected names that are not empty and differ, got \"{}\" again", entry.name);
    const std::int64_t size = checked_product(entry.shape, "safetensors");
    WAN_CHECK(size == static_cast<std::int64_t>(entry.values.size()), kInvalidArgument,
              "[safetensors] {}: expected {} values for its shape, got {}", entry.name, size,
              entry.values.size());
    const std::int64_t end = offset + static_cast<std::int64_t>(entry.values.size_bytes());
    header[entry.name] = {{"dtype", "F32"}, {"shape", entry.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = json_text(header);
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, std::span<const SafetensorsEntry> entries,
                       const Metadata& metadata, const std::filesystem::path& earlier,
                       const std::function<void()>& check) {
  const std::string header = header_of(entries, metadata);
  std::string prefix;
  for (int byte = 0; byte < 8; ++byte) prefix += static_cast<char>(header.size() >> (8 * byte) & 0xff);
  RawFile file(path);
  std::int64_t offset = 0;
  const auto append = [&](std::span<const std::byte> bytes) {
    file.write_at(offset, bytes);
    offset += static_cast<std::int64_t>(bytes.size());
  };
  append(std::as_bytes(std::span(prefix)));
  append(std::as_bytes(std::span(header)));
  for (const SafetensorsEntry& entry : entries) append(std::as_bytes(entry.values));
  if (check) check();
  file.commit(earlier);
}

}  // namespace wan
