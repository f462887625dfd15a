#pragma once
// generation_config.json from its text.

#include <string>
#include <string_view>

#include "wan/request.h"

namespace wan {

/// The task's official constants, overridden by the keys of `text`; `where` names the text in errors. Throws BadFile
/// naming the key for a malformed or unknown one, InvalidArgument for a text that is for another task.
ModelDefaults parse_model_defaults(std::string_view task, std::string_view text, const std::string& where);

}  // namespace wan
