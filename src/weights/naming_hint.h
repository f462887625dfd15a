#pragma once
// What the names of a checkpoint's tensors say when they are not the expected ones.

#include <span>
#include <string>

namespace wan {

/// A sentence that says which kind of file this looks like and which one to use; empty when nothing is known.
std::string naming_hint(std::span<const std::string> missing, std::span<const std::string> unused);

}  // namespace wan
