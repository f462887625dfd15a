#pragma once
// The small random checkpoint of tests/golden/pipeline.

#include <filesystem>

namespace wan::test {

inline const std::filesystem::path kCheckpoint =
    std::filesystem::path(WAN_GOLDEN_DIR) / "pipeline/checkpoint";

}  // namespace wan::test
