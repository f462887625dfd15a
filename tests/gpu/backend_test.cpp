// The backend on a real device: memory, transfers, messages.

#include <gtest/gtest.h>

#include <cstring>

#include "gpu/device_values.h"

namespace wan::test {
namespace {

TEST(GpuBackend, TellsAboutItsDevice) {
  EXPECT_GE(cuda_device_count(), 1);
  const CudaDeviceInfo info = cuda_device_info(0);
  EXPECT_FALSE(info.name.empty());
  EXPECT_GE(info.compute_major, 8);
  EXPECT_GT(info.multiprocessors, 0);
  EXPECT_GT(info.free_bytes, 0);
  EXPECT_GE(info.total_bytes, info.free_bytes);
  EXPECT_NE(cuda_unusable_reason(cuda_device_count()), "");
}

TEST(GpuBackend, TransfersComeBackWhole) {
  GpuContext gpu;
  for (const std::int64_t bytes : {std::int64_t{1}, (std::int64_t{70} << 20) + 13}) {
    const Tensor from(DType::kU8, {bytes});
    for (std::int64_t i = 0; i < bytes; ++i) from.view().data()[i] = static_cast<std::byte>(i * 31 % 251);
    const Tensor back = gpu.on_host(gpu.on_device(from));
    EXPECT_EQ(std::memcmp(from.view().data(), back.view().data(), static_cast<std::size_t>(bytes)), 0);
  }
}

TEST(GpuBackend, TellsHowMuchMemoryThereWas) {
  GpuContext gpu;
  const std::int64_t total = cuda_device_info(0).total_bytes;
  try {
    const Tensor huge = gpu.empty(DType::kU8, {2 * total});
    ADD_FAILURE() << "twice the device's memory was given";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutOfMemory);
    EXPECT_NE(std::string(error.what()).find("are free"), std::string::npos) << error.what();
  }
  // And the device still works.
  const Tensor x = gpu.random(DType::kF32, {1000}, 1);
  EXPECT_EQ(count_non_finite(gpu.ctx, x), 0);
}

TEST(GpuBackend, ReleasedMemoryIsTakenAgain) {
  GpuContext gpu;
  const std::int64_t before = gpu.backend->memory_use().now;
  for (int i = 0; i < 100; ++i) gpu.empty(DType::kU8, {std::int64_t{256} << 20});
  EXPECT_EQ(gpu.backend->memory_use().now, before);
}

}  // namespace
}  // namespace wan::test
