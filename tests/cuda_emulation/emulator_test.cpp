// The emulator itself: that it runs threads as a device does, and stops what a device would not run.

#include "backends/cuda/kernels/platform.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "base/error.h"

namespace wan::cuda {
namespace {

__global__ void number_kernel(int* out) {
  out[blockIdx.x * blockDim.x + threadIdx.x] = static_cast<int>(blockIdx.x * 1000 + threadIdx.x);
}

TEST(Emulator, RunsEveryThreadOfEveryBlockOnce) {
  std::vector<int> out(3 * 40, -1);
  launch(nullptr, {dim3(3), dim3(40)}, number_kernel, out.data());
  for (int i = 0; i < 120; ++i) EXPECT_EQ(out[static_cast<std::size_t>(i)], i / 40 * 1000 + i % 40);
}

__global__ void shift_kernel(int* values, bool with_barrier) {
  __shared__ int shared[64];
  shared[threadIdx.x] = values[threadIdx.x];
  if (with_barrier) __syncthreads();
  values[threadIdx.x] = shared[(threadIdx.x + 1) % 64];
  __syncthreads();
}

/// Other values each time: a static shared array still holds those of the launch before.
std::vector<int> shifted(bool with_barrier, int first) {
  std::vector<int> values(64);
  std::iota(values.begin(), values.end(), first);
  launch(nullptr, {dim3(1), dim3(64)}, shift_kernel, values.data(), with_barrier);
  return values;
}

TEST(Emulator, BarriersOrderSharedMemoryAndTheirAbsenceShows) {
  int wrong = 0;
  for (int first = 0; first < 800; first += 100) {
    std::vector<int> expected(64);
    for (int i = 0; i < 64; ++i) expected[static_cast<std::size_t>(i)] = first + (i + 1) % 64;
    EXPECT_EQ(shifted(true, first), expected);
    const std::vector<int> unordered = shifted(false, first + 1000);
    wrong += unordered != shifted(true, first + 1000) ? 1 : 0;
  }
  EXPECT_GT(wrong, 0);
}

/// Without a barrier a warp that is ahead overwrites what another has yet to read.
__global__ void ahead_kernel(float* values, bool with_barrier) {
  __shared__ float shared[64];
  shared[threadIdx.x] = values[threadIdx.x];
  __syncthreads();
  const float other = __shfl_xor_sync(0xffffffffu, shared[63 - threadIdx.x], 0);
  if (with_barrier) __syncthreads();
  shared[threadIdx.x] = -1.0f;
  __syncthreads();
  values[threadIdx.x] = other;
}

TEST(Emulator, AWarpMayBeAheadOfAnother) {
  int wrong = 0;
  for (int launch_number = 0; launch_number < 8; ++launch_number)
    for (const bool with_barrier : {true, false}) {
      std::vector<float> values(64);
      std::iota(values.begin(), values.end(), 0.0f);
      launch(nullptr, {dim3(1), dim3(64)}, ahead_kernel, values.data(), with_barrier);
      const bool right = values[0] == 63.0f && values[63] == 0.0f;
      if (with_barrier) {
        EXPECT_TRUE(right);
      }
      wrong += right ? 0 : 1;
    }
  EXPECT_GT(wrong, 0);
}

__global__ void butterfly_kernel(float* values) {
  float value = values[threadIdx.x];
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  values[threadIdx.x] = value + __shfl_sync(0xffffffffu, static_cast<float>(threadIdx.x), 3);
}

TEST(Emulator, WarpsExchangeValues) {
  std::vector<float> values(96);
  std::iota(values.begin(), values.end(), 0.0f);
  launch(nullptr, {dim3(1), dim3(96)}, butterfly_kernel, values.data());
  for (int i = 0; i < 96; ++i) {
    const int warp = i / 32;
    const float sum = 32.0f * 32.0f * static_cast<float>(warp) + 496.0f;
    EXPECT_EQ(values[static_cast<std::size_t>(i)], sum + static_cast<float>(32 * warp + 3));
  }
}

__global__ void some_wait_kernel() {
  if (threadIdx.x < 10) __syncthreads();
}
__global__ void some_lanes_kernel() {
  if (threadIdx.x < 10) __shfl_xor_sync(0xffffffffu, 1.0f, 1);
}
__global__ void part_of_mask_kernel() {
  __shfl_xor_sync(0xffffu, 1.0f, 1);
}
__global__ void misaligned_kernel(const char* at) {
  check_address(at + 4, 16);
}
__global__ void empty_kernel() {}

template <typename... Parameters, typename... Args>
void expect_stopped(const LaunchShape& shape, void (*kernel)(Parameters...), const Args&... args) {
  EXPECT_THROW(launch(nullptr, shape, kernel, args...), Error);
}

TEST(Emulator, StopsWhatADeviceWouldNotRun) {
  alignas(16) const char bytes[16] = {};
  const LaunchShape warp{dim3(1), dim3(32)};
  expect_stopped(warp, some_wait_kernel);
  expect_stopped(warp, some_lanes_kernel);
  expect_stopped(warp, part_of_mask_kernel);
  expect_stopped(warp, misaligned_kernel, static_cast<const char*>(bytes));
  expect_stopped({dim3(1), dim3(1025)}, empty_kernel);
  expect_stopped({dim3(1), dim3(32), std::size_t{100} * 1024}, empty_kernel);
  expect_stopped({dim3(1, 65536), dim3(32)}, empty_kernel);
  EXPECT_NO_THROW(launch(nullptr, warp, empty_kernel));
}

__global__ void read_shared_kernel(float* out) {
  out[threadIdx.x] = dynamic_shared<float>()[threadIdx.x];
}

TEST(Emulator, SharedMemoryStartsAsNan) {
  std::vector<float> out(32, 0.0f);
  launch(nullptr, {dim3(1), dim3(32), 128}, read_shared_kernel, out.data());
  for (const float value : out) EXPECT_TRUE(std::isnan(value));
}

}  // namespace
}  // namespace wan::cuda
