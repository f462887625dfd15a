#pragma once
// RankConnection: a rank's ways to the others.

#include <memory>
#include <span>
#include <vector>

#include "parallel/local/local_communicator.h"
#include "parallel/rank_layout.h"
#include "wan/engine.h"

namespace wan {

struct RankConnection {
  RankLayout layout;
  std::unique_ptr<Communicator> all = std::make_unique<SelfCommunicator>();
  std::unique_ptr<Communicator> group = {};  // of those that divide a pass with this one; nullptr: all do

  // Where those that divide a pass are on several machines (RankLayout::machines); see MachineRanks.
  std::unique_ptr<Communicator> within = {};
  std::unique_ptr<Communicator> across = {};
  std::vector<std::vector<int>> machine_ranks = {};

  Communicator& group_or_all() const { return group ? *group : *all; }
  /// Ends the other ranks' work with this one.
  void abort(const Error& cause) const noexcept;
  /// See Communicator.
  double waited_seconds() const;
};

/// "on", "off" or "auto". Throws InvalidArgument.
Links parse_p2p(const std::string& p2p);

/// One for each of `devices`, which are layout.ranks() of one kind. Of options: rank_timeout and p2p. Throws as
/// make_local_communicators().
std::vector<RankConnection> connect_devices(std::span<ComputeDevice* const> devices, const RankLayout& layout,
                                            const EngineOptions& options);

}  // namespace wan
