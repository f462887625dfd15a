#pragma once
// Runs a kernel on the CPU: block after block, each CUDA thread that waits on a stack of its own. Threads of a block go on in
// changing orders, each until it waits, so that a missing barrier shows. What a device would not forgive stops the launch with an
// Error: a barrier that some threads never reach, a warp operation that its lanes do not reach together, a misaligned wide
// access, more shared memory or threads than a block may have.

#include <vector_types.h>

#include <cstddef>
#include <cstdint>
#include <functional>

namespace wan::cuda_emulation {

/// What the compiler provides in a kernel: threadIdx, blockIdx, blockDim and gridDim of the thread that runs.
struct Built {
  uint3 thread, block;
  dim3 block_size, grid_size;
};
inline constinit thread_local Built built{};

struct Grid {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes;
};

/// Calls body once for every thread of the grid. Throws Device.
void run_grid(const Grid& grid, const std::function<void()>& body);

// For the thread that runs.

/// __syncthreads().
void block_barrier();
/// This lane's number in its warp.
unsigned lane();
/// Gives `value` to the warp and returns what lane `source` gave, once all lanes are here. Only with all lanes.
std::uint32_t warp_exchange(unsigned mask, std::uint32_t value, unsigned source);
std::byte* dynamic_shared_memory();
/// Ends the launch with an Error.
[[noreturn]] void stop(const char* why);

}  // namespace wan::cuda_emulation
