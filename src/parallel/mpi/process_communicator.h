#pragma once
// A Communicator among ranks of several processes, which may have several ranks each. Ranks meet by letters; what they exchange goes with
// these, through the hosts' memory, or straight between their devices where these are a DeviceGroup.

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

/// Where a member's views are.
struct RankMemory {
  ComputeDevice* device = nullptr;  // none: in the host's memory
  std::shared_ptr<DeviceGroup> devices =
      nullptr;  // of all members, each in its place; none: letters carry what is exchanged
};

/// The communicator of a member, on whose thread it is used; `processes` and the device outlive it. A member that does not come to an
/// exchange within `timeout`, or whose process is gone, ends all ranks of the connection, as abort() does; so does a device that stands
/// in an exchange for so long. Ranks that an exchange does not wait for may learn of a failure in it in their next one. With a DeviceGroup
/// what is received after a failure is of no use, and check() says so once the device has been waited for.
std::unique_ptr<Communicator> make_process_communicator(ProcessGroup& processes, RankGroup group, int rank,
                                                        RankMemory memory, std::chrono::milliseconds timeout);

}  // namespace wan
