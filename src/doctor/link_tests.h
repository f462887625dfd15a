#pragma once
// Copies between devices, timed, and what arrived compared with what was sent.

#include <chrono>
#include <span>

#include "parallel/local/local_communicator.h"
#include "tensor/compute_device.h"
#include "wan/doctor.h"

namespace wan {

/// Copies out of one device's memory into another's, as the ranks of a video do; where devices cannot, by way of the host's. Fills rate,
/// equal and failure of a pair.
DoctorPair measure_pair(ComputeDevice& from, ComputeDevice& to);

/// Bytes a second of copies from the host into a device's memory.
double measure_upload(ComputeDevice& device);

/// Each of the devices, which are of one kind, sends to each on a thread of its own, by the communicator that a video takes.
DoctorExchange test_exchange(std::span<ComputeDevice* const> devices, Links links = Links::kAuto,
                             std::chrono::milliseconds timeout = std::chrono::seconds(30));

}  // namespace wan
