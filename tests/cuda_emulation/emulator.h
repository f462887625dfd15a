#pragma once
// Runs a kernel on the CPU: block after block, a fiber a CUDA thread. Threads of a block go on in changing orders, each until
// it waits, so that a missing barrier shows. What a device would not forgive stops the launch with an Error: a barrier
// that some threads never reach, a warp operation that its lanes do not reach together, a misaligned wide access, more
// shared memory or threads than a block may have.

#include <vector_types.h>

#include <cstddef>
#include <cstdint>
#include <functional>

namespace wan::cuda_emulation {

struct ThreadPlace {
  uint3 thread;
  uint3 block;
};

struct Grid {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes;
};

/// Calls body once for every thread of the grid; place_thread before each stretch of it. Throws Device.
void run_grid(const Grid& grid, const std::function<void(const ThreadPlace&)>& place_thread,
              const std::function<void()>& body);

// For the thread that runs.

/// __syncthreads().
void block_barrier();
/// This lane's number in its warp.
unsigned lane();
/// Gives `value` to the warp and returns what lane `source` gave, once all lanes are here. Only with all lanes.
std::uint32_t warp_exchange(unsigned mask, std::uint32_t value, unsigned source);
std::byte* dynamic_shared_memory();
/// Ends the launch with an Error.
void stop(const char* why);

}  // namespace wan::cuda_emulation
