#pragma once
// RankLayout: how the ranks of a video share its steps.

namespace wan {

/// Groups of consecutive ranks. With one group all of them divide the tokens of every pass (Ulysses); with two, guidance's two passes
/// run at the same time, each on a half of the ranks, which divide its tokens. Where a group's ranks are on several machines, as many on
/// each, heads are exchanged within a machine, and keys and values go round the machines.
struct RankLayout {
  int sequence = 1;  // ranks of a group
  int groups = 1;    // 1 or 2
  int machines = 1;  // of a group; 1 too where they do not have as many of its ranks each

  int ranks() const { return sequence * groups; }
  int group_of(int rank) const { return rank / sequence; }
  int first_of(int group) const { return group * sequence; }
  friend bool operator==(const RankLayout&, const RankLayout&) = default;
};

}  // namespace wan
