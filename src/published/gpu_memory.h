#pragma once
// How much memory GPUs have, by their names.

#include <cstdint>
#include <string_view>

namespace wan {

/// Bytes of "RTX 4090", "rtx4090", "NVIDIA A100-SXM4-80GB" or "A100-80GB": all that the driver shows. Throws InvalidArgument, with the
/// names that are known, for any other.
std::int64_t gpu_memory_bytes(std::string_view name);

}  // namespace wan
