#pragma once
// What to write for an option that does not exist: the name that other programs give to ours, or a typo.

#include <string>
#include <vector>

namespace wan {

/// For the end of "unknown option NAME": "; it is called --base_seed here", " (did you mean --frame_num?)" or "". `names` are
/// the options there are; `unknown` has their spelling (underscores).
std::string option_hint(const std::vector<std::string>& names, const std::string& unknown);

/// " (did you mean generate?)" for the name least edits away, or "".
std::string similar_name_hint(const std::vector<std::string>& names, const std::string& unknown);

}  // namespace wan
