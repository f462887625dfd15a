#pragma once
// JSON of ours as text: the one place that writes any.

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace wan {

/// `json` in one line, or with `indent` spaces a level where it is 0 or more. Bytes that are not UTF-8, as paths and prompts may hold, become U+FFFD.
std::string json_text(const nlohmann::json& json, int indent = -1);
std::string json_text(const nlohmann::ordered_json& json, int indent = -1);

}  // namespace wan
