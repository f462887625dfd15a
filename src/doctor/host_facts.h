#pragma once
// What the machine without its GPUs is, and what of it this process may use.

#include <filesystem>

#include "wan/doctor.h"

namespace wan {

/// Locks 64 MB of memory for a moment.
DoctorHost host_facts();

/// NVIDIA's display and compute cards on the machine's buses, also those that no driver shows. `root` stands for "/", for tests.
int count_nvidia_cards(const std::filesystem::path& root = "/");

}  // namespace wan
