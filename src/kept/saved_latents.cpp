#include "kept/saved_latents.h"

#include <charconv>
#include <cmath>

#include "base/untrusted_text.h"
#include "media/safetensors_writer.h"
#include "weights/checkpoint.h"
#include "weights/convert.h"

namespace wan {

namespace {

constexpr const char* kNextStep = "next_step";
constexpr const char* kCondition = "condition";
constexpr const char* kKept = "kept";
constexpr const char* kAutomatic = "automatic";
constexpr const char* kRequested = "requested";
constexpr const char* kSegment = "segment";  // "2/7": the third of seven

std::string slot_name(std::size_t slot) {
  return slot == 0 ? "latents" : fmt::format("slot_{}", slot);
}

/// Where `latents` stand in their video. Throws BadFile.
void read_segment(const std::string& text, const std::string& where, SavedLatents& latents) {
  const char* const end = text.data() + text.size();
  const auto segment = std::from_chars(text.data(), end, latents.segment);
  const bool divided = segment.ec == std::errc() && segment.ptr != end && *segment.ptr == '/';
  const bool whole = divided && std::from_chars(segment.ptr + 1, end, latents.segments) ==
                                    std::from_chars_result{end, std::errc()};
  WAN_CHECK(whole && latents.segment >= 0 && latents.segment < latents.segments && latents.segments <= 100000,
            kBadFile, "{}: \"{}\" is {}, expected a segment and their number, such as 0/1", where, kSegment,
            quote_name(text));
}

Tensor read_tensor(const Checkpoint& file, const TensorEntry& entry, const Shape& shape) {
  const std::string& where = file.path();
  WAN_CHECK(entry.dtype == DType::kF32 && entry.shape == shape, kBadFile,
            "{}: expected {} as f32 {}, got {} {}", where, entry.name, shape.to_string(),
            dtype_name(entry.dtype), entry.shape.to_string());
  Tensor slot(DType::kF32, shape);
  convert(entry, slot);
  file.check_read(entry);
  const float* values = slot.as<float>();
  for (std::int64_t i = 0; i < slot.elements(); ++i)
    WAN_CHECK(std::isfinite(values[i]), kBadFile, "{}: {} holds values that are not finite", where,
              entry.name);
  return slot;
}

}  // namespace

void save_latents(const std::filesystem::path& path, const SavedLatents& latents,
                  const std::filesystem::path& earlier) {
  WAN_ASSERT(latents.settings && !latents.slots.empty());
  WAN_ASSERT(latents.done.size() == static_cast<std::size_t>(latents.segment));
  const std::size_t kept = latents.segment_finished() ? 1 : latents.slots.size();
  std::vector<SafetensorsEntry> entries;
  const auto add = [&](const std::string& name, const TensorView& tensor) {
    const auto extents = tensor.shape().extents();
    entries.push_back({name,
                       {extents.begin(), extents.end()},
                       {tensor.as<float>(), static_cast<std::size_t>(tensor.shape().elements())}});
  };
  for (std::size_t slot = 0; slot < kept; ++slot) add(slot_name(slot), latents.slots[slot]);
  if (!latents.condition.empty()) add(kCondition, latents.condition);
  for (std::size_t segment = 0; segment < latents.done.size(); ++segment)
    add(finished_segment_name(segment), latents.done[segment]);
  Metadata metadata = to_metadata(*latents.settings);
  metadata.emplace_back(kNextStep, std::to_string(latents.next_step));
  if (latents.segments > 1)
    metadata.emplace_back(kSegment, fmt::format("{}/{}", latents.segment, latents.segments));
  metadata.emplace_back(kKept, latents.automatic ? kAutomatic : kRequested);
  write_safetensors(path, entries, metadata, earlier, [&] { latents.done.check_read(); });
}

SavedLatents load_latents(const std::filesystem::path& path) {
  const std::string where = path.string();
  const Checkpoint file = Checkpoint::open(path);
  const TensorEntry* first = file.find("latents");
  WAN_CHECK(first != nullptr && first->shape.rank() == 4, kBadFile,
            "{}: expected a tensor \"latents\" [channels, frames, height, width]", where);
  SavedLatents latents;
  latents.file = path;
  const TensorEntry* condition = file.find(kCondition);
  if (condition != nullptr) latents.condition = read_tensor(file, *condition, condition->shape);
  if (const auto segment = file.metadata().find(kSegment); segment != file.metadata().end())
    read_segment(segment->second, where, latents);
  latents.done.read_from(file, static_cast<std::size_t>(latents.segment), first->shape);
  const std::size_t slots = file.entries().size() - (condition != nullptr ? 1 : 0) - latents.done.size();
  for (std::size_t slot = 0; slot < slots; ++slot) {
    const TensorEntry* entry = file.find(slot_name(slot));
    WAN_CHECK(entry != nullptr, kBadFile, "{}: expected a tensor {}", where, slot_name(slot));
    latents.slots.push_back(read_tensor(file, *entry, first->shape));
  }
  const Metadata metadata(file.metadata().begin(), file.metadata().end());
  if (!holds_settings(metadata) && !file.metadata().contains(kNextStep)) {
    WAN_CHECK(latents.slots.size() == 1, kBadFile, "{}: the settings of the unfinished run are missing",
              where);
    return latents;
  }
  latents.settings = settings_from_metadata(metadata, where);
  const auto step = file.metadata().find(kNextStep);
  WAN_CHECK(step != file.metadata().end() && !step->second.empty() && step->second.size() < 6 &&
                step->second.find_first_not_of("0123456789") == std::string::npos,
            kBadFile, "{}: the metadata has no \"{}\"", where, kNextStep);
  latents.next_step = std::stoi(step->second);
  WAN_CHECK(latents.next_step <= latents.settings->steps, kBadFile,
            "{}: \"{}\" is {}, expected 0 to the {} steps", where, kNextStep, latents.next_step,
            latents.settings->steps);
  const auto kept = file.metadata().find(kKept);
  latents.automatic = kept != file.metadata().end() && kept->second == kAutomatic;
  return latents;
}

}  // namespace wan
