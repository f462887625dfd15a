#include "tasks/part_choice.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <functional>

#include "base/error.h"
#include "base/files.h"
#include "base/same_file.h"
#include "base/untrusted_text.h"
#include "tasks/task_table.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

/// What the file's name, or else its folder's, says of its expert.
std::string_view expert_of(const fs::path& file) {
  const std::string_view own = expert_in_name(file.filename().string());
  return own.empty() ? expert_in_name(file.parent_path().filename().string()) : own;
}

std::string names_of(const std::vector<FoundPart>& parts) {
  constexpr std::size_t kMost = 6;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < std::min(parts.size(), kMost); ++i)
    names.push_back(parts[i].file.filename().string());
  return fmt::format("{}{}", fmt::join(names, ", "), parts.size() > kMost ? " ..." : "");
}

/// Why there may be less than a person expects.
std::string unreadable_files(const FoundParts& found) {
  if (found.unreadable.empty()) return "";
  return fmt::format("; {} cannot be read: {}", found.unreadable.size() == 1 ? "a file" : "files",
                     found.unreadable.front());
}

std::vector<FoundPart> those(const std::vector<FoundPart>& parts,
                             const std::function<bool(const FoundPart&)>& are) {
  std::vector<FoundPart> chosen;
  std::copy_if(parts.begin(), parts.end(), std::back_inserter(chosen), are);
  return chosen;
}

fs::path only_one(const std::vector<FoundPart>& candidates, const FoundParts& found, const fs::path& folder,
                  std::string_view what, const MessagePart& otherwise) {
  WAN_CHECK(!candidates.empty(), kBadFile, "{} holds no {}{}; put one there{}", folder.string(), what,
            unreadable_files(found), otherwise);
  WAN_CHECK(candidates.size() == 1, kBadFile, "{} holds {} files of a {} ({}); leave one there{}",
            folder.string(), candidates.size(), what, names_of(candidates), otherwise);
  return candidates.front().file;
}

void check_experts_names(const fs::path& low, const fs::path& high) {
  WAN_CHECK_FIELD(
      !is_same_file(low, high), kBadFile, "high_noise",
      "{} is given for both experts; name the high-noise one with `high_noise` and the low-noise one with "
      "`low_noise`",
      high.string());
  const bool low_is_high = expert_of(low) == "high";
  const bool high_is_low = expert_of(high) == "low";
  WAN_CHECK_FIELD(
      !low_is_high || !high_is_low, kBadFile, "high_noise",
      "the experts are exchanged, by their names: {} is given for high noise and {} for low noise; exchange "
      "`high_noise` and `low_noise`",
      high.string(), low.string());
  WAN_CHECK_FIELD(!low_is_high, kBadFile, "low_noise",
                  "{} is given for low noise and is the high-noise expert by its name", low.string());
  WAN_CHECK_FIELD(!high_is_low, kBadFile, "high_noise",
                  "{} is given for high noise and is the low-noise expert by its name", high.string());
}

const Task* find_task_with(std::string_view type, std::size_t transformers) {
  for (const Task* task : all_tasks())
    if (task->facts().model_type == type && task->facts().transformers.size() == transformers) return task;
  return nullptr;
}

bool any_task_of(std::string_view type) {
  return find_task_with(type, 1) != nullptr || find_task_with(type, 2) != nullptr;
}

}  // namespace

std::vector<fs::path> choose_transformers(const FoundParts& found, const fs::path& folder) {
  const auto usable =
      those(found.transformers, [](const FoundPart& part) { return any_task_of(part.facts.model_type); });
  WAN_CHECK(!usable.empty() || found.transformers.empty(), kUnsupported, "{} is a {}; this version has {}",
            found.transformers.front().file.string(), found.transformers.front().facts.family, task_names());
  WAN_CHECK(!usable.empty(), kBadFile, "{} holds no transformer of Wan2.2{}", folder.string(),
            unreadable_files(found));
  if (usable.size() == 1) return {usable.front().file};
  const auto of = [&](std::string_view expert) {
    return those(usable, [&](const FoundPart& part) { return expert_of(part.file) == expert; });
  };
  const auto low = of("low");
  const auto high = of("high");
  WAN_CHECK(low.size() == 1 && high.size() == 1 && usable.size() == 2, kBadFile,
            "{} holds {} transformers ({}); name those to take with `high_noise` and `low_noise`, or "
            "`transformer` for "
            "a model that has one",
            folder.string(), usable.size(), names_of(usable));
  return {low.front().file, high.front().file};
}

std::vector<FoundPart> umt5_encoders(const FoundParts& found) {
  return those(found.text_encoders,
               [](const FoundPart& part) { return part.facts.family == "umT5 text encoder"; });
}

std::vector<FoundPart> vaes_of_kind(const FoundParts& found, VaeKind kind) {
  const char* const type = kind == VaeKind::kVae21 ? "vae21" : "vae22";
  return those(found.vaes, [&](const FoundPart& part) { return part.facts.model_type == type; });
}

fs::path choose_text_encoder(const FoundParts& found, const fs::path& folder) {
  return only_one(umt5_encoders(found), found, folder, "umT5 text encoder",
                  {", or name one with `text_encoder`"});
}

fs::path choose_vae(const FoundParts& found, const fs::path& folder, VaeKind kind) {
  const auto fitting = vaes_of_kind(found, kind);
  const auto what = kind == VaeKind::kVae21 ? "VAE of Wan2.1, which A14B models take (wan_2.1_vae)"
                                            : "VAE of Wan2.2 (wan2.2_vae)";
  WAN_CHECK(!fitting.empty() || found.vaes.empty(), kBadFile,
            "{} holds no {}: {} is the {}; name one with `vae`", folder.string(), what,
            found.vaes.front().file.filename().string(), found.vaes.front().facts.family);
  return only_one(fitting, found, folder, what, {", or name one with `vae`"});
}

fs::path choose_image_encoder(const FoundParts& found, const fs::path& folder) {
  return only_one(found.image_encoders, found, folder,
                  "CLIP image encoder, which Animate takes (clip_vision_h)", {""});
}

std::vector<fs::path> with_named_transformers(std::vector<fs::path> transformers,
                                              const CheckpointParts& parts) {
  const bool experts = !parts.high_noise.empty() || !parts.low_noise.empty();
  WAN_CHECK_FIELD(parts.transformer.empty() || !experts, kInvalidArgument, "transformer",
                  "`transformer` is for a model that has one; name experts with `high_noise` and `low_noise` "
                  "alone");
  if (!parts.transformer.empty()) return {parts.transformer};
  if (!experts) return transformers;
  if (transformers.size() != 2) transformers = {{}, {}};
  if (!parts.low_noise.empty()) transformers[0] = parts.low_noise;
  if (!parts.high_noise.empty()) transformers[1] = parts.high_noise;
  WAN_CHECK_FIELD(!transformers[0].empty(), kInvalidArgument, "low_noise",
                  "`low_noise` is missing: name the low-noise expert beside {}", transformers[1].string());
  WAN_CHECK_FIELD(!transformers[1].empty(), kInvalidArgument, "high_noise",
                  "`high_noise` is missing: name the high-noise expert beside {}", transformers[0].string());
  return transformers;
}

const Task& task_of(std::span<const fs::path> transformers) {
  std::vector<PartFacts> facts;
  for (const fs::path& path : transformers) {
    const Checkpoint checkpoint = Checkpoint::open(path);
    facts.push_back(recognize_part(checkpoint));
    WAN_CHECK(facts.back().kind == PartKind::kTransformer, kBadFile, "{} is no transformer{}{}{}",
              path.string(), facts.back().family.empty() ? " of Wan2.2" : ": it is a ", facts.back().family,
              facts.back().kind == PartKind::kLora ? ", an addition to one: name it with `lora`" : "");
  }
  if (transformers.size() == 2) {
    check_experts_names(transformers[0], transformers[1]);
    WAN_CHECK(facts[0].model_type == facts[1].model_type, kBadFile,
              "the experts are of different models: {} is a {}, {} a {}", transformers[1].string(),
              facts[1].family, transformers[0].string(), facts[0].family);
  }
  const std::string& type = facts.front().model_type;
  if (const Task* task = find_task_with(type, transformers.size())) return *task;
  const std::string place = transformers.front().string();
  WAN_CHECK(type.empty() || find_task_with(type, 2) == nullptr, kUnsupported,
            "{} is an {}; Wan2.2's two experts make a video together: name both, with `high_noise` and "
            "`low_noise`",
            place, facts.front().family);
  WAN_CHECK(type.empty() || find_task_with(type, 1) == nullptr, kUnsupported,
            "{} is a {}, which has no other expert beside it; name it alone, with `transformer`", place,
            facts.front().family);
  fail(ErrorCode::kUnsupported, "{} is a {}; this version has {}", place, facts.front().family, task_names());
}

}  // namespace wan
