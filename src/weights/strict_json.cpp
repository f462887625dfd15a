#include "weights/strict_json.h"

#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/untrusted_text.h"

namespace wan {

nlohmann::json parse_strict_json(std::span<const std::byte> text, const std::string& where, int max_depth,
                                 const char* remedy) {
  using nlohmann::json;
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const json::parser_callback_t check = [&](int depth, json::parse_event_t event, json& parsed) {
    switch (event) {
      case json::parse_event_t::object_start:
      case json::parse_event_t::array_start:
        WAN_CHECK(depth < max_depth, kBadFile, "[{}] expected at most {} nested levels of JSON; {}", where,
                  max_depth, "the file is damaged or not what its name says");
        if (event == json::parse_event_t::object_start) keys.emplace_back();
        break;
      case json::parse_event_t::object_end:
        keys.pop_back();
        break;
      case json::parse_event_t::key: {
        const auto& key = parsed.get_ref<const std::string&>();
        WAN_CHECK(keys.back().insert(key).second, kBadFile,
                  "[{}] the key {} stands twice; make the file anew", where, quote_name(key));
        break;
      }
      case json::parse_event_t::array_end:
      case json::parse_event_t::value:
        break;
    }
    return true;
  };
  const auto* begin = reinterpret_cast<const char*>(text.data());
  try {
    return json::parse(begin, begin + text.size(), check);
  } catch (const json::exception& error) {
    fail(ErrorCode::kBadFile, "[{}] malformed JSON ({}); {}", where, json_reason(error.what()), remedy);
  }
}

}  // namespace wan
