#pragma once
// A Communicator among ranks of several processes, which may have several ranks each: by letters, through the host's memory.

#include <memory>

#include "parallel/communicator.h"
#include "parallel/mpi/process_group.h"
#include "tensor/compute_device.h"

namespace wan {

/// Some of the ranks of a connection.
struct RankGroup {
  std::uint32_t connection = 1;
  std::uint32_t number =
      0;  // of the group, the same for all of its members and for no other group of the connection
  std::vector<int> processes;  // that each of its members is in
};

/// The communicator of a member, on whose thread it is used. `device` is where its views are, nullptr for the host's memory; both outlive
/// it. A member that does not come to an exchange within `timeout`, or whose process is gone, ends all ranks of the connection, as abort()
/// does. Ranks that an exchange does not wait for may learn of a failure in it in their next one.
std::unique_ptr<Communicator> make_process_communicator(ProcessGroup& processes, RankGroup group, int rank,
                                                        ComputeDevice* device,
                                                        std::chrono::milliseconds timeout);

}  // namespace wan
