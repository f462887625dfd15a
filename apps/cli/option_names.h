#pragma once
// The library speaks of the members of its structs, a person of options: what the one is called as the other.

#include <string>
#include <string_view>

namespace wan {

/// "--base_seed" for "seed".
std::string option_name(std::string_view field);

/// The field of an error of the command line's own about "--base_seed": "base_seed", of which option_name() makes the
/// option again. Empty for what is no option. Valid as long as `option`.
const char* field_of(const std::string& option);

/// The text of an Error or a Notice with options for members, as it is shown to a person.
std::string with_options(std::string_view message);

}  // namespace wan
