#include "parallel/local/local_communicator.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>

#include "base/error.h"

namespace wan {

namespace {

using Mark = std::shared_ptr<const WorkMark>;

/// What a rank lets the others read, from its mark on.
struct Posted {
  std::span<const TensorView> views;
  Mark ready;
};

/// What the ranks share: a reusable barrier that can be aborted, and a board where each posts its views. A rank
/// leaves an aborted exchange only when nobody reads any rank's views any more, for its own may die with it.
class Group {
 public:
  Group(int size, std::chrono::milliseconds timeout)
      : size_(size), timeout_(timeout), posted_(static_cast<std::size_t>(size)), read_(posted_.size()) {}

  int size() const { return size_; }

  void wait() { pass(0); }
  /// The barrier after which every rank reads, and then calls stop_reading().
  void wait_to_read() { pass(size_); }

  void stop_reading() noexcept {
    const std::lock_guard lock(mutex_);
    --reading_;
    changed_.notify_all();
  }

  void abort(const Error& cause) noexcept {
    const std::lock_guard lock(mutex_);
    if (!cause_) cause_ = cause;
    changed_.notify_all();
  }
  void check() const {
    const std::lock_guard lock(mutex_);
    if (cause_) throw Error(*cause_);
  }

  void change_resting(int by) noexcept {
    const std::lock_guard lock(mutex_);
    resting_ += by;
  }

  void post(int rank, Posted posted) { posted_[static_cast<std::size_t>(rank)] = std::move(posted); }
  const Posted& posted(int rank) const { return posted_[static_cast<std::size_t>(rank)]; }
  /// Where a rank's device has read what the others posted.
  void post_read(int rank, Mark mark) { read_[static_cast<std::size_t>(rank)] = std::move(mark); }
  const Mark& read(int rank) const { return read_[static_cast<std::size_t>(rank)]; }

 private:
  void pass(int readers) {
    std::unique_lock lock(mutex_);
    const std::uint64_t generation = generation_;
    if (!cause_ && ++arrived_ == size_) {
      arrived_ = 0;
      reading_ = readers;
      ++generation_;
      changed_.notify_all();
      return;
    }
    const auto over = [&] { return generation_ != generation || (cause_ && reading_ == 0); };
    // In slices, of which a process that was stopped meanwhile loses one and not all.
    const std::chrono::milliseconds slice = std::min<std::chrono::milliseconds>(timeout_, kSlice);
    for (std::chrono::milliseconds waited{}; !changed_.wait_for(lock, slice, over);) {
      if (resting_ == 0) waited += slice;
      if (waited < timeout_ || cause_) continue;
      cause_ = Error(
          ErrorCode::kDevice,
          format_message(
              "{} of {} ranks did not come to an exchange within {:.3g} s: a device does not answer, or "
              "the work between two exchanges takes longer than `rank_timeout` says",
              size_ - arrived_, size_, std::chrono::duration<double>(timeout_).count()),
          "rank_timeout");
      changed_.notify_all();
    }
    if (generation_ == generation) throw Error(*cause_);
  }

  const int size_;
  static constexpr std::chrono::milliseconds kSlice{1000};

  const std::chrono::milliseconds timeout_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  int arrived_ = 0;
  int reading_ = 0;  // ranks that may still read what was posted
  std::uint64_t generation_ = 0;
  int resting_ = 0;
  std::optional<Error> cause_;  // why the group is at its end
  // Each rank writes its own, and reads the others' after the barrier that follows.
  std::vector<Posted> posted_;
  std::vector<Mark> read_;
};

class LocalCommunicator final : public Communicator {
 public:
  /// `device` is nullptr where all ranks work in the host's memory.
  LocalCommunicator(std::shared_ptr<Group> group, int rank, ComputeDevice* device)
      : group_(std::move(group)), rank_(rank), device_(device) {}
  ~LocalCommunicator() override {
    group_->abort(Error(ErrorCode::kDevice, "another rank has ended, and this one stops too"));
  }

  int rank() const override { return rank_; }
  int size() const override { return group_->size(); }

  void all_to_all(std::span<const TensorView> send, std::span<const TensorView> recv) override {
    check_collective_views(send, size(), "all_to_all");
    check_collective_views(recv, size(), "all_to_all");
    exchange(send, [&](int peer, std::span<const TensorView> theirs) {
      copy(theirs[static_cast<std::size_t>(rank_)], recv[static_cast<std::size_t>(peer)]);
    });
  }

  void all_gather(const TensorView& send, std::span<const TensorView> recv) override {
    check_collective_views(recv, size(), "all_gather");
    exchange(std::span(&send, 1), [&](int peer, std::span<const TensorView> theirs) {
      copy(theirs[0], recv[static_cast<std::size_t>(peer)]);
    });
  }

  void broadcast(const TensorView& data, int root) override {
    WAN_CHECK(root >= 0 && root < size(), kInternal, "[broadcast] root {} of {} ranks", root, size());
    exchange(std::span(&data, 1), [&](int peer, std::span<const TensorView> theirs) {
      if (peer == root && peer != rank_) copy(theirs[0], data);
    });
  }

  void barrier() override { group_->wait(); }
  void abort(const Error& cause) noexcept override { group_->abort(cause); }
  void check() const override { group_->check(); }
  void begin_rest() noexcept override { group_->change_resting(1); }
  void end_rest() noexcept override { group_->change_resting(-1); }

 private:
  void copy(const TensorView& from, const TensorView& to) {
    if (device_ != nullptr)
      device_->copy_from(from, to);
    else
      copy_on_host(from, to, "local communicator");
  }

  Mark mark() const { return device_ != nullptr ? device_->mark_work() : nullptr; }
  void wait_for(const Mark& mark) const {
    if (mark != nullptr) device_->wait_for(*mark);
  }

  /// Posts this rank's views, visits every rank's from the next one on, and holds everyone's buffers until all have read.
  void exchange(std::span<const TensorView> views,
                const std::function<void(int peer, std::span<const TensorView> theirs)>& visit) {
    group_->post(rank_, {views, mark()});
    group_->wait_to_read();
    std::exception_ptr failure;
    try {
      for (int i = 0; i < size(); ++i) {
        const int peer = (rank_ + i) % size();
        const Posted& theirs = group_->posted(peer);
        if (peer != rank_) wait_for(theirs.ready);
        visit(peer, theirs.views);
      }
      group_->post_read(rank_, mark());
    } catch (const std::exception& error) {
      failure = std::current_exception();
      const auto* const known = dynamic_cast<const Error*>(&error);
      group_->abort(known != nullptr ? *known : Error(ErrorCode::kInternal, error.what()));
    }
    group_->stop_reading();
    try {
      group_->wait();
      // What comes next on this device may write to what the others read.
      for (int peer = 0; peer < size(); ++peer)
        if (peer != rank_) wait_for(group_->read(peer));
    } catch (const Error&) {
      if (!failure) throw;
    }
    if (failure) std::rethrow_exception(failure);
  }

  std::shared_ptr<Group> group_;
  int rank_;
  ComputeDevice* device_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> make_local_communicators(std::span<ComputeDevice* const> devices,
                                                                    std::chrono::milliseconds timeout) {
  for (ComputeDevice* const device : devices)
    for (ComputeDevice* const reader : devices)
      if (device != nullptr && device != reader) device->share_memory_with(*reader);
  const auto group = std::make_shared<Group>(static_cast<int>(devices.size()), timeout);
  std::vector<std::unique_ptr<Communicator>> ranks;
  for (ComputeDevice* const device : devices)
    ranks.push_back(std::make_unique<LocalCommunicator>(group, static_cast<int>(ranks.size()), device));
  return ranks;
}

std::vector<std::unique_ptr<Communicator>> make_local_communicators(int size,
                                                                    std::chrono::milliseconds timeout) {
  WAN_CHECK(size >= 1, kInvalidArgument, "[local communicator] at least one rank is needed, got {}", size);
  return make_local_communicators(std::vector<ComputeDevice*>(static_cast<std::size_t>(size), nullptr),
                                  timeout);
}

}  // namespace wan
