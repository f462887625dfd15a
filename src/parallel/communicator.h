#pragma once
// Communicator: how the ranks that work on one video exchange tensors. Ranks are threads of one process,
// GPUs, or processes on several machines; the code above sees only this interface.

#include <atomic>
#include <chrono>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "tensor/tensor.h"

namespace wan {

/// An exchange that goes on while its rank computes. Not to outlive its communicator. One that is destroyed unfinished ends as after a
/// failure: nobody copies from this rank's memory any more, and what was received is undefined.
class PendingExchange {
 public:
  virtual ~PendingExchange() = default;
  /// What the rank does from now on finds what was received, and may write to what was sent. On a GPU its work waits, and not its thread.
  /// Once.
  virtual void finish() = 0;
};

/// How a communicator's exchanges go on beside computation.
enum class ExchangeSpeed {
  kAtOnce,       // not at all: begin_all_to_all() exchanges before it returns
  kDirect,       // from one device's memory to another's
  kThroughHost,  // through the host's memory, several times as long
};

/// Collective operations over a fixed group. Every rank calls the same sequence with matching byte counts; a
/// mismatch or a rank that has died or called abort() makes the call throw on every rank instead of hanging. Views are on this rank's device, contiguous or of rows as tensor/row_copy.h has them; on a GPU the exchange is
/// enqueued behind the device's work, and what is enqueued later comes after it.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// send[p] goes to rank p, recv[p] comes from rank p; both hold size() views. recv[p] on rank r has the
  /// bytes of send[r] on rank p. Unequal counts are allowed. send and recv must not overlap.
  virtual void all_to_all(std::span<const TensorView> send, std::span<const TensorView> recv) = 0;
  /// all_to_all() beside the work that is enqueued after it: until finish(), nothing may be written to `send`, and `recv` is undefined. The
  /// lists of views may go when it returns. Some may be pending at once, which all ranks finish in the same order.
  virtual std::unique_ptr<PendingExchange> begin_all_to_all(std::span<const TensorView> send,
                                                            std::span<const TensorView> recv);
  virtual ExchangeSpeed exchange_speed() const { return ExchangeSpeed::kAtOnce; }
  /// recv[p] receives what rank p passed as `send`, this rank's own included.
  virtual void all_gather(const TensorView& send, std::span<const TensorView> recv) = 0;
  /// Every rank's `data` becomes rank root's.
  virtual void broadcast(const TensorView& data, int root) = 0;
  virtual void barrier() = 0;
  /// Makes every pending and later call of every rank throw `cause`, or the first one of several. Thread-safe.
  virtual void abort(const Error& cause) noexcept = 0;
  /// Throws what a rank has called abort() with. For ranks that do long work between two calls.
  virtual void check() const {}
  /// Between these two the others wait for this rank as long as it takes; see RankRest. Thread-safe.
  virtual void begin_rest() noexcept {}
  virtual void end_rest() noexcept {}
  virtual bool anyone_rests() const { return false; }
  /// Seconds of all calls so far in which this rank had nothing to do until others came. Where a device does the waiting, behind its
  /// work, it counts them (ComputeDevice::waited_seconds()). From any thread.
  virtual double waited_seconds() const { return 0; }
};

/// A communicator's ranks where they are on several machines, as many on each.
struct MachineRanks {
  Communicator& within;  // those of this rank's machine
  Communicator& across;  // one of each machine, those at this rank's place on it, in the machines' order
  std::span<const std::vector<int>> ranks;  // of each machine, by their numbers in the communicator
};

/// While it lives a rank waits for others: adds the seconds to a sum.
class RankWait {
 public:
  explicit RankWait(std::atomic<double>& seconds)
      : seconds_(seconds), start_(std::chrono::steady_clock::now()) {}
  ~RankWait() {
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  RankWait(const RankWait&) = delete;
  RankWait& operator=(const RankWait&) = delete;

 private:
  std::atomic<double>& seconds_;
  std::chrono::steady_clock::time_point start_;
};

/// While it lives a rank does what has no limit of time, such as waiting for the caller or a disk.
class RankRest {
 public:
  explicit RankRest(Communicator& communicator) : communicator_(communicator) { communicator_.begin_rest(); }
  ~RankRest() { communicator_.end_rest(); }
  RankRest(const RankRest&) = delete;
  RankRest& operator=(const RankRest&) = delete;

 private:
  Communicator& communicator_;
};

/// The group of one: copies where a copy is due, waits for nobody. Host memory only.
class SelfCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void all_to_all(std::span<const TensorView> send, std::span<const TensorView> recv) override;
  void all_gather(const TensorView& send, std::span<const TensorView> recv) override;
  void broadcast(const TensorView&, int root) override;
  void barrier() override {}
  void abort(const Error&) noexcept override {}
};

/// Shared by the implementations: throws Internal unless there are as many views as `size`.
void check_collective_views(std::span<const TensorView> views, int size, const char* where);

/// For implementations that exchange through the host's memory: throws Unsupported for a view of a device's, Device where the
/// sizes differ.
void copy_on_host(const TensorView& from, const TensorView& to, const char* where);

}  // namespace wan
