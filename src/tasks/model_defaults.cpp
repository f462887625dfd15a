#include "tasks/model_defaults.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/untrusted_text.h"
#include "json/strict_json.h"
#include "request/attributed.h"
#include "tasks/checkpoint_files.h"
#include "tasks/task_table.h"

namespace wan {

namespace {

using Json = nlohmann::json;

/// generation_config.json under validation.
class Overrides {
 public:
  Overrides(Json json, std::string path, std::string_view task)
      : path_(std::move(path)), json_(std::move(json)) {
    WAN_CHECK(json_.is_object(), kBadFile, "{} is not a JSON object", path_);
    const auto found = json_.find("task");
    if (found == json_.end()) return;
    WAN_CHECK_FIELD(found->is_string() && found->get<std::string>() == task, kInvalidArgument, "task",
                    "this checkpoint is for `task` {}, not {}", shortened(found->dump()), task);
  }

  template <typename Apply>
  void with(const char* key, Apply&& apply) {
    known_.push_back(key);
    const auto found = json_.find(key);
    if (found == json_.end()) return;
    try {
      attributed(path_, key, [&] { apply(*found); });
    } catch (const Json::exception&) {
      fail(ErrorCode::kBadFile, "{}: \"{}\" is {}, which is of the wrong kind", path_, key,
           shortened(found->dump()));
    }
  }

  void number(const char* key, double& value, double lowest, double highest) {
    with(key, [&](const Json& json) {
      value = json.get<double>();
      WAN_CHECK(std::isfinite(value) && value >= lowest && value <= highest, kBadFile,
                "expected {} to {}, got {}", lowest, highest, value);
    });
  }

  void integer(const char* key, int& value, int lowest, int highest) {
    with(key, [&](const Json& json) {
      WAN_CHECK(json.is_number_integer(), kBadFile, "expected an integer");
      const auto wide = json.get<std::int64_t>();
      WAN_CHECK(wide >= lowest && wide <= highest, kBadFile, "expected {} to {}, got {}", lowest, highest,
                wide);
      value = static_cast<int>(wide);
    });
  }

  void refuse_unknown() const {
    for (const auto& [key, value] : json_.items())
      WAN_CHECK(key == "task" || std::find(known_.begin(), known_.end(), key) != known_.end(), kBadFile,
                "{}: \"{}\" is not a known key", path_, shortened(key));
  }

 private:
  std::string path_;
  Json json_;
  std::vector<std::string> known_;
};

constexpr int kDepth = 8;  // a good one has two levels
constexpr const char* kRemedy = "correct it";

ModelDefaults read_defaults(std::string_view task, Json document, const std::string& where) {
  ModelDefaults defaults = find_task(task).defaults();
  Overrides overrides(std::move(document), where, task);
  overrides.with("size",
                 [&](const Json& json) { defaults.size = parse_video_size(json.get<std::string>()); });
  overrides.integer("frame_num", defaults.frame_num, 1, 1 << 20);
  overrides.number("fps", defaults.fps, 0.01, 1000.0);
  overrides.with("sample_solver",
                 [&](const Json& json) { defaults.sample_solver = json.get<std::string>(); });
  overrides.integer("sample_steps", defaults.sample_steps, 1, 1000);
  overrides.number("sample_shift", defaults.sample_shift, 1e-3, 1e3);
  overrides.with("sample_guide_scale", [&](const Json& json) {
    if (json.is_array()) {
      WAN_CHECK(json.size() == 2, kBadFile, "expected a number or [low, high]");
      defaults.sample_guide_scale = {json[0].get<double>(), json[1].get<double>()};
    } else {
      defaults.sample_guide_scale = {json.get<double>(), json.get<double>()};
    }
  });
  if (defaults.boundary) overrides.number("boundary", *defaults.boundary, 1e-6, 1.0);
  overrides.with("negative_prompt",
                 [&](const Json& json) { defaults.negative_prompt = json.get<std::string>(); });
  overrides.refuse_unknown();
  return defaults;
}

}  // namespace

ModelDefaults parse_model_defaults(std::string_view task, std::string_view text, const std::string& where) {
  return read_defaults(task, parse_strict_json(text, where, kDepth, kRemedy), where);
}

ModelDefaults load_model_defaults(std::string_view task, const std::filesystem::path& ckpt_dir) {
  ModelDefaults defaults = find_task(task).defaults();
  if (ckpt_dir.empty()) return defaults;
  const std::filesystem::path path =
      with_field("ckpt_dir", [&] { return checkpoint_folder(ckpt_dir); }) / "generation_config.json";
  if (!file_exists(path)) return defaults;
  return with_field(
      "ckpt_dir", [&] { return read_defaults(task, read_json_file(path, kDepth, kRemedy), path.string()); });
}

}  // namespace wan
