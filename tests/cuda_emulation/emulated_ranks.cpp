// Ranks on emulated GPUs, which exchange by an emulated NCCL.

#include <dlfcn.h>

#include <array>
#include <thread>

#include "backends/cuda/cuda_backend.h"
#include "cuda_emulation/fake_runtime.h"
#include "distributed/rank_memory.h"

namespace wan::test {

namespace {

ComputeDevice& device_of(int index) {
  static const std::array<std::unique_ptr<Backend>, kRanks> devices = [] {
    cuda_emulation::fake_machine().devices = kRanks;
    std::array<std::unique_ptr<Backend>, kRanks> made;
    for (int i = 0; i < kRanks; ++i) made[static_cast<std::size_t>(i)] = make_cuda_backend({.device = i});
    return made;
  }();
  return *devices[static_cast<std::size_t>(index)];
}

/// What the first of the group's processes has made.
DeviceGroupId shared_id(ProcessGroup& processes, const RankGroup& group) {
  const int first = group.processes.front();
  const auto route = [&](int to) {
    return Route{.connection = 0, .group = 1 + group.number, .from = first, .to = to};
  };
  if (processes.rank() != first) return processes.receive(first, route(processes.rank()));
  DeviceGroupId id = device_of(0).make_group_id();
  int told = first;
  for (const int process : group.processes)
    if (process > told) processes.send(told = process, route(process), id);
  return id;
}

}  // namespace

Allocator& rank_allocator(int index) {
  return device_of(index).allocator();
}

std::vector<RankMemory> join_ranks(ProcessGroup& processes, const RankGroup& group,
                                   const std::vector<int>& own) {
  std::vector<RankMemory> members;
  if (own.empty()) return members;
  const DeviceGroupId id = shared_id(processes, group);
  for (const int index : own) {
    int rank = 0;  // this process's ranks come in the order of their numbers
    while (group.processes[static_cast<std::size_t>(rank)] != processes.rank()) ++rank;
    rank += static_cast<int>(members.size());
    members.push_back(
        {&device_of(index), device_of(index).join_group(id, rank, static_cast<int>(group.processes.size()))});
  }
  for (const RankMemory& member : members)
    while (!member.devices->is_ready()) std::this_thread::yield();
  return members;
}

void drop_next_exchange() {
  void* const library = ::dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
  auto* const drop = reinterpret_cast<void (*)()>(::dlsym(library, "fake_nccl_drop_next"));
  drop();
}

}  // namespace wan::test
