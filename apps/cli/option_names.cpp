#include "option_names.h"

#include <algorithm>
#include <utility>

#include "wan/error.h"

namespace wan {

namespace {

/// Members whose options have other names; all others are called alike.
constexpr std::pair<std::string_view, std::string_view> kOtherNames[] = {
    {"dump_dir", "dump"},
    {"gpu_bytes", "gpu"},
    {"seed", "base_seed"},
};

}  // namespace

std::string option_name(std::string_view field) {
  for (const auto& [member, option] : kOtherNames)
    if (field == member) field = option;
  return "--" + std::string(field);
}

const char* field_of(const std::string& option) {
  return option.starts_with('-') ? option.c_str() + std::min(option.find_first_not_of('-'), option.size())
                                 : "";
}

std::string with_options(std::string_view message) {
  return spell_fields(message, option_name);
}

}  // namespace wan
