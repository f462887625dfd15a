// main() of the tests that need a GPU: where none can be used they are skipped with the reason, or, with WAN_REQUIRE_GPU
// set, fail.

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "backends/cuda/cuda_backend.h"

int main(int argc, char** argv) {
  constexpr int kSkipped = 77;  // ctest's SKIP_RETURN_CODE
  ::testing::InitGoogleTest(&argc, argv);
  const std::string reason = wan::cuda_unusable_reason(0);
  if (!reason.empty()) {
    const bool required = std::getenv("WAN_REQUIRE_GPU") != nullptr;
    std::printf("%s: %s\n", required ? "failed" : "skipped", reason.c_str());
    return required ? 1 : kSkipped;
  }
  const wan::CudaDeviceInfo info = wan::cuda_device_info(0);
  std::printf("on %s, compute capability %d.%d, %d multiprocessors\n", info.name.c_str(), info.compute_major,
              info.compute_minor, info.multiprocessors);
  return RUN_ALL_TESTS();
}
