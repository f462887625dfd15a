#pragma once
// BlockResidency: how a model comes by the weights of its blocks, one block at a time, without knowing
// whether all of them lie on the device or only the next one.
//
// The caller states the order in which blocks will be acquired (the schedule), and acquires them in that
// order:
//   residency.set_schedule(ids);
//   for (id : ids) { BlockLease lease = residency.acquire(id); run_block(lease.weights()); }
//
// Where ranks divide a group's blocks (BlockGroup::share), a place is filled by copies out of the ranks' memory instead of from the
// checkpoint. Each rank does so when its own schedule wants the block; what no rank's schedule names any more goes. What does come from the
// checkpoint, of ranks with devices, is read once for all of them (CommonBlocks).

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "weights/block_layout.h"
#include "weights/weight_loader.h"

namespace wan {

/// A block of one of the residency's groups: experts and the text encoder are groups of their own.
struct BlockId {
  int group = 0;
  int index = 0;
  friend bool operator==(const BlockId&, const BlockId&) = default;
};

class BlockResidency;

/// Holds a block in place; movable. It must not outlive its residency, and may be destroyed on any thread.
class BlockLease {
 public:
  BlockLease() = default;
  ~BlockLease() { release(); }
  BlockLease(BlockLease&& other) noexcept;
  BlockLease& operator=(BlockLease&& other) noexcept;
  BlockLease(const BlockLease&) = delete;
  BlockLease& operator=(const BlockLease&) = delete;

  /// In the layout's order; read-only.
  std::span<const TensorView> weights() const { return weights_; }
  const TensorView& operator[](std::size_t index) const { return weights_[index]; }
  /// The same, with what is added to them when they are unpacked.
  LeasedWeights leased() const { return {weights_, additions_}; }
  /// Gives the block back early.
  void release();

 private:
  friend class BlockResidency;
  BlockLease(BlockResidency& residency, std::size_t place, const LeasedWeights& leased)
      : residency_(&residency), place_(place), weights_(leased.views), additions_(leased.additions) {}

  BlockResidency* residency_ = nullptr;
  std::size_t place_ = 0;
  std::span<const TensorView> weights_;
  std::span<const LowRankViews> additions_;
};

struct ResidencyStats {
  std::int64_t acquired = 0;
  std::int64_t ready = 0;        // of those acquired: were in place already
  std::int64_t unscheduled = 0;  // of those acquired: were not in the schedule
  std::int64_t loaded = 0;       // blocks brought in, ahead or on demand
  double waited_seconds = 0;     // spent in acquire() until the block was in place
};

/// Progress of preload(), in bytes of device memory.
using LoadProgress = std::function<void(std::size_t done, std::size_t total)>;

class BlockResidency {
 public:
  virtual ~BlockResidency() = default;

  /// Loads what this kind holds before the first acquire: all blocks, or this rank's shares of them, and the first of the schedule.
  /// Call it after the groups' WeightReport::check(). Optional: what is not in place is loaded when acquired. Throws
  /// what loading throws, and what `progress` throws (to cancel).
  virtual void preload(const LoadProgress& progress) = 0;

  /// The blocks to be acquired from now on, in order: the rest of this pass, the next guidance pass, the next
  /// step, the other expert. Replaces the former schedule; may be called while leases are held, and as often
  /// as more of the future is known. Blocks in place stay. Throws InvalidArgument for a block that does not
  /// exist.
  virtual void set_schedule(std::span<const BlockId> schedule) = 0;

  /// Waits until the block is in place and holds it there. Taking the schedule's blocks in order is the fast
  /// way. Skipping ahead drops the blocks skipped; a block that the schedule does not name is loaded on
  /// demand and leaves the schedule as it was: both are allowed here and slower. One thread acquires at a time. At most one block fewer than places may be leased while
  /// the next one is to come ahead; with all places leased, another block is an Internal error, not a wait
  /// for ever. Throws what loading the block threw, also when that happened ahead in the background; a later
  /// acquire tries anew.
  virtual BlockLease acquire(BlockId id) = 0;

  /// Device memory that the blocks take, loaded or not.
  virtual std::size_t bytes() const = 0;
  /// Numbers of one moment, for any thread; it may wait while a block is loaded.
  virtual ResidencyStats stats() const = 0;

 protected:
  BlockLease make_lease(std::size_t place, const LeasedWeights& leased) { return {*this, place, leased}; }

 private:
  friend class BlockLease;
  /// Called once for each lease, on any thread.
  virtual void release(std::size_t place) noexcept = 0;
};

enum class ResidencyKind {
  kResident,  // every block in device memory
  kStreamed,  // fewer places than blocks, filled from the checkpoint, or the ranks' shares, ahead of their use by a thread of their own
};

/// Copies contiguous bytes between this rank's device and its own or another rank's; returns when they are there. See
/// ComputeDevice::copy_beside.
using BlockCopy = std::function<void(const TensorView& from, const TensorView& to)>;

struct ResidencyOptions {
  ResidencyKind kind = ResidencyKind::kResident;
  /// Blocks stay for the next run. Otherwise, once there is a schedule, memory is given back when its last use is over: a block's
  /// own, or a place's for which no block is left. What is acquired again is loaded again.
  bool keep = true;
  /// Streamed: blocks in device memory at once, at least 2.
  int places = 2;
  /// Streamed: threads that convert the next block while the current one computes; 0: as the scopes say.
  int threads = 1;
  /// Called when a lease ends or memory is taken, on the caller's thread; must not throw. What it returns is called before the block's
  /// memory is overwritten, and returns when the device has done with it (an event on the compute stream).
  /// Empty where work is done when a call returns.
  std::function<std::function<void()>()> mark_use{};
  /// How blocks go to the device, where it is another way than other weights go; empty: the groups' own.
  WeightUpload upload{};
  /// How blocks come from other ranks' devices; empty: on the host.
  BlockCopy copy{};
};

/// Declares every block's weights on its scope's report, loads nothing yet. All groups have one device.
/// Throws OutOfMemory.
std::unique_ptr<BlockResidency> make_residency(std::vector<BlockGroup> groups, ResidencyOptions options);

/// Device memory of this rank's share of the group's blocks; 0 where none are divided.
std::size_t share_bytes(const BlockGroup& group);
/// Device memory that make_residency() would take, shares included, for a plan.
std::size_t residency_bytes(std::span<const BlockGroup> groups, const ResidencyOptions& options);

}  // namespace wan
