#include "pipeline/settings.h"

#include <charconv>

#include "base/error.h"
#include "request/tasks.h"
#include "wan/version.h"

namespace wan {

namespace {

/// Pairs under reading: every failure names the file and the key.
class Pairs {
 public:
  Pairs(const Metadata& metadata, const std::string& where) : metadata_(metadata), where_(where) {}

  std::string text(const char* key) const {
    for (const auto& [name, value] : metadata_)
      if (name == key) return value;
    fail(ErrorCode::kBadFile, "{}: the metadata has no \"{}\"; these latents were not kept by this program",
         where_, key);
  }

  template <typename T>
  T number(const char* key) const {
    const std::string value = text(key);
    T result{};
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), result);
    WAN_CHECK(error == std::errc() && end == value.data() + value.size(), kBadFile,
              "{}: \"{}\" is \"{}\", no number", where_, key, value);
    return result;
  }

  /// parse(text), its error attributed to the file.
  template <typename Parse>
  auto parsed(const char* key, Parse&& parse) const {
    const std::string value = text(key);
    try {
      return parse(value);
    } catch (const Error& error) {
      fail(ErrorCode::kBadFile, "{}: \"{}\": {}", where_, key, error.what());
    }
  }

 private:
  const Metadata& metadata_;
  const std::string& where_;
};

}  // namespace

Metadata to_metadata(const GenerationSettings& s) {
  Metadata metadata = {{"prompt", s.prompt},
                       {"negative_prompt", s.negative_prompt},
                       {"seed", fmt::format("{}", s.seed)},
                       {"task", s.task},
                       {"model", s.model},
                       {"size", format_video_size(s.size)},
                       {"frame_num", fmt::format("{}", s.frame_num)},
                       {"fps", fmt::format("{}", s.fps)},
                       {"sample_solver", solver_name(s.solver)},
                       {"sample_steps", fmt::format("{}", s.steps)},
                       {"sample_shift", fmt::format("{}", s.shift)},
                       {"sample_guide_scale", format_guidance_scale(s.guide_scale)},
                       {"rng", format_random_spec(s.rng)},
                       {"precision", s.precision}};
  const TaskInfo& task = task_info(s.task);
  if (s.boundary) metadata.emplace_back("boundary", fmt::format("{}", *s.boundary));
  if (task.image != ImageUse::kNone) {
    metadata.emplace_back("area", format_video_size(s.area));
    metadata.emplace_back("image", s.image);
  }
  if (task.takes_last_image) metadata.emplace_back("last_image", s.last_image);
  metadata.emplace_back("version", std::string("wan.cpp ") + version());
  return metadata;
}

GenerationSettings settings_from_metadata(const Metadata& metadata, const std::string& where) {
  const Pairs pairs(metadata, where);
  GenerationSettings s;
  s.prompt = pairs.text("prompt");
  s.negative_prompt = pairs.text("negative_prompt");
  s.seed = pairs.number<std::int64_t>("seed");
  const TaskInfo& task = *pairs.parsed("task", [](const std::string& text) { return &task_info(text); });
  s.task = task.name;
  s.model = pairs.text("model");
  s.size = pairs.parsed("size", [](const std::string& text) { return parse_video_size(text); });
  s.frame_num = pairs.number<int>("frame_num");
  s.fps = pairs.number<double>("fps");
  s.solver = pairs.parsed("sample_solver", [](const std::string& text) { return parse_solver(text); });
  s.steps = pairs.number<int>("sample_steps");
  s.shift = pairs.number<double>("sample_shift");
  s.guide_scale =
      pairs.parsed("sample_guide_scale", [](const std::string& text) { return parse_guidance_scale(text); });
  s.rng = pairs.parsed("rng", [](const std::string& text) { return parse_random_spec(text); });
  s.precision = pairs.text("precision");
  if (task.transformers > 1) s.boundary = pairs.number<double>("boundary");
  if (task.image != ImageUse::kNone) {
    s.area = pairs.parsed("area", [](const std::string& text) { return parse_video_size(text); });
    s.image = pairs.text("image");
  }
  if (task.takes_last_image) s.last_image = pairs.text("last_image");
  return s;
}

}  // namespace wan
