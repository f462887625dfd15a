#pragma once
// Copies between devices, timed, and what arrived compared with what was sent.

#include <chrono>
#include <cstdint>
#include <span>

#include "parallel/local/local_communicator.h"
#include "tensor/compute_device.h"
#include "wan/doctor.h"

namespace wan {

/// How many f32 values a test moves: 64 MB to a device, and 16 MB from each rank to each.
constexpr std::int64_t kPairElements = std::int64_t{1} << 24;
constexpr std::int64_t kExchangeElements = std::int64_t{1} << 22;

/// Copies out of one device's memory into another's, as the ranks of a video do; where devices cannot, by way of the host's. Fills rate,
/// equal and failure of a pair.
DoctorPair measure_pair(ComputeDevice& from, ComputeDevice& to, std::int64_t elements = kPairElements);

/// Bytes a second of copies from the host into a device's memory.
double measure_upload(ComputeDevice& device, std::int64_t elements = kPairElements);

/// Each of the devices, which are of one kind, sends to each on a thread of its own, by the communicator that a video takes.
DoctorExchange test_exchange(std::span<ComputeDevice* const> devices, Links links = Links::kAuto,
                             std::int64_t elements = kExchangeElements,
                             std::chrono::milliseconds timeout = std::chrono::seconds(30));

}  // namespace wan
