#pragma once
// Which library this is.

namespace wan {

/// "0.1.0"
const char* version() noexcept;

}  // namespace wan
