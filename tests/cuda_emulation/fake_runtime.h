#pragma once
// The CUDA runtime's functions that the backend calls, on host memory: what is enqueued is done at once. Linked in place of
// the runtime, so that the backend's own host code is tested too. Memory of the "device" starts as NaN, has guards on
// both sides that are looked at when it is freed, and copies check that each side is where the call says.

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace wan::cuda_emulation {

/// What the fake machine has. Tests change it and put it back.
struct FakeMachine {
  int devices = 1;
  int driver_version = 13000;  // 0: no driver
  bool has_code = true;        // this build's kernels run on the device
  bool has_pools = true;
  bool has_links = true;  // between its devices
  std::size_t total_bytes = std::size_t{8} << 30;
  float milliseconds = 0.0f;       // the device's clock, which events read
  float wait_milliseconds = 0.0f;  // that a stream waits for an event
  bool is_behind = false;          // the device has done nothing of what was enqueued, to who asks
};
FakeMachine& fake_machine();

/// The device's default pool, which belongs to the whole process: what it keeps when memory is released.
std::uint64_t fake_default_pool_keeps();

/// Whether the calling thread's current device is the stream's, as a launch needs it. True for the null stream.
bool fake_stream_is_current(cudaStream_t stream);

/// Bytes of the device that are not free, those that pools keep among them, and how often guards round them were found damaged.
std::size_t fake_used_bytes();
int damaged_guards();

}  // namespace wan::cuda_emulation
