#pragma once
// Ranks as threads of one process, exchanging by copies between their devices' memory, the host's included: every parallel path runs
// without a GPU.

#include <chrono>
#include <memory>
#include <span>
#include <vector>

#include "parallel/communicator.h"
#include "tensor/compute_device.h"

namespace wan {

/// How long a rank waits for the others to come to an exchange.
inline constexpr std::chrono::seconds kRankTimeout{300};

/// How the bytes of one device come to another.
enum class Links {
  kAuto,    // directly where all devices can, otherwise through the host's memory
  kDirect,  // each device reads the others' memory
  kHost,    // each device writes what it sends to page-locked memory of the host, from which the others read
};

/// Lets each of the devices read the others' memory. False where they cannot, or `links` is kHost; with kDirect throws Unsupported instead.
bool share_memory(std::span<ComputeDevice* const> devices, Links links);

/// One communicator for each of the devices, which are of one kind and outlive it, to be used by one thread each. An exchange is
/// enqueued in the order of each device's work and waits for no device; views may be of rows (tensor/row_copy.h). A rank whose
/// communicator is destroyed before the others have finished aborts the group; so does one that does not come within `timeout`, in
/// which a stopped process's time does not count, nor that of a rank that rests.
/// With kDirect, throws Unsupported where devices cannot read each other's memory.
std::vector<std::unique_ptr<Communicator>> make_local_communicators(
    std::span<ComputeDevice* const> devices, std::chrono::milliseconds timeout = kRankTimeout,
    Links links = Links::kAuto);

/// Communicators of ranks that all work in the host's memory.
std::vector<std::unique_ptr<Communicator>> make_local_communicators(
    int size, std::chrono::milliseconds timeout = kRankTimeout);

}  // namespace wan
