#pragma once
// Paths in lines that a person pastes into a shell.

#include <filesystem>
#include <string>

namespace wan {

/// `path` as one word of a POSIX shell and never an option: as it is where that is enough, else in single quotes. What a
/// terminal would not show as it is stands as octal numbers in $'...', which bash, zsh and ksh read.
std::string shell_quoted(const std::filesystem::path& path);

}  // namespace wan
