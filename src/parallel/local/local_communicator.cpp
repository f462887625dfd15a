#include "parallel/local/local_communicator.h"

#include <algorithm>
#include <atomic>
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
  bool anyone_rests() const {
    const std::lock_guard lock(mutex_);
    return resting_ > 0;
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
  LocalCommunicator(std::shared_ptr<Group> group, int rank, ComputeDevice* device, bool through_host)
      : group_(std::move(group)), rank_(rank), device_(device), through_host_(through_host) {}
  ~LocalCommunicator() override {
    group_->abort(Error(ErrorCode::kDevice, "another rank has ended, and this one stops too"));
    if (sent_.data() == nullptr) return;
    try {
      device_->synchronize();  // behind it are the others' last reads of what was sent
    } catch (const Error&) {   // of an earlier failure, that was told
    }
  }

  int rank() const override { return rank_; }
  int size() const override { return group_->size(); }

  void all_to_all(std::span<const TensorView> send, std::span<const TensorView> recv) override {
    check_collective_views(send, size(), "all_to_all");
    check_collective_views(recv, size(), "all_to_all");
    exchange(
        send, [this](std::size_t view) { return static_cast<int>(view) != rank_; },
        [&](int peer, std::span<const TensorView> theirs) {
          copy(theirs[static_cast<std::size_t>(rank_)], recv[static_cast<std::size_t>(peer)]);
        });
  }

  void all_gather(const TensorView& send, std::span<const TensorView> recv) override {
    check_collective_views(recv, size(), "all_gather");
    exchange(
        std::span(&send, 1), [](std::size_t) { return true; },
        [&](int peer, std::span<const TensorView> theirs) {
          copy(theirs[0], recv[static_cast<std::size_t>(peer)]);
        });
  }

  void broadcast(const TensorView& data, int root) override {
    WAN_CHECK(root >= 0 && root < size(), kInternal, "[broadcast] root {} of {} ranks", root, size());
    exchange(
        std::span(&data, 1), [&](std::size_t) { return rank_ == root; },
        [&](int peer, std::span<const TensorView> theirs) {
          if (peer == root && peer != rank_) copy(theirs[0], data);
        });
  }

  void barrier() override { wait(&Group::wait); }
  void abort(const Error& cause) noexcept override { group_->abort(cause); }
  void check() const override { group_->check(); }
  void begin_rest() noexcept override { group_->change_resting(1); }
  void end_rest() noexcept override { group_->change_resting(-1); }
  bool anyone_rests() const override { return group_->anyone_rests(); }
  /// A GPU goes on with its work while its thread waits here.
  double waited_seconds() const override {
    const bool on_host = device_ == nullptr || device_->device().kind == DeviceKind::kCpu;
    return on_host ? waited_.load() : 0;
  }

 private:
  void wait(void (Group::*all)()) {
    const RankWait waits(waited_);
    (*group_.*all)();
  }

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

  /// Those of `views` that others read, in page-locked memory of the host, from this rank's next mark on. What they had before was read
  /// before the last exchange ended.
  std::vector<TensorView> to_host(std::span<const TensorView> views,
                                  const std::function<bool(std::size_t view)>& is_read) {
    std::size_t bytes = 0;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < views.size(); ++i) {
      places.push_back(bytes);
      constexpr std::size_t kAlignment = 256;
      if (is_read(i)) bytes += (views[i].bytes() + kAlignment - 1) / kAlignment * kAlignment;
    }
    if (sent_.size() < bytes) {
      device_->synchronize();  // the device may still write to it
      sent_ = Buffer();
      sent_ = Buffer(device_->transfer_allocator(), bytes);
    }
    std::vector<TensorView> on_host;
    for (std::size_t i = 0; i < views.size(); ++i) {
      if (!is_read(i) || views[i].bytes() == 0) {
        on_host.push_back(views[i]);
        continue;
      }
      on_host.emplace_back(sent_.data() + places[i], views[i].dtype(), views[i].shape(), Device{});
      device_->copy_out(views[i], on_host.back());
    }
    return on_host;
  }

  /// Posts this rank's views, visits every rank's from the next one on, and holds everyone's buffers until all have read. Others read the
  /// views that is_read() names.
  void exchange(std::span<const TensorView> views, const std::function<bool(std::size_t view)>& is_read,
                const std::function<void(int peer, std::span<const TensorView> theirs)>& visit) {
    std::vector<TensorView> on_host;
    if (through_host_) on_host = to_host(views, is_read);
    group_->post(rank_, {through_host_ ? std::span<const TensorView>(on_host) : views, mark()});
    wait(&Group::wait_to_read);
    std::exception_ptr failure;
    try {
      for (int i = 0; i < size(); ++i) {
        const int peer = (rank_ + i) % size();
        const Posted& theirs = group_->posted(peer);
        if (peer != rank_) wait_for(theirs.ready);
        visit(peer, peer == rank_ ? views : theirs.views);
      }
      group_->post_read(rank_, mark());
    } catch (const std::exception& error) {
      failure = std::current_exception();
      const auto* const known = dynamic_cast<const Error*>(&error);
      group_->abort(known != nullptr ? *known : Error(ErrorCode::kInternal, error.what()));
    }
    group_->stop_reading();
    try {
      wait(&Group::wait);
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
  bool through_host_;
  Buffer sent_;  // of the host, where what is sent goes through it
  std::atomic<double> waited_{0};
};

}  // namespace

bool share_memory(std::span<ComputeDevice* const> devices, Links links) {
  if (links == Links::kHost) return false;
  try {
    for (ComputeDevice* const device : devices)
      for (ComputeDevice* const reader : devices)
        if (device != nullptr && device != reader) device->share_memory_with(*reader);
  } catch (const Error& error) {
    if (links == Links::kDirect || error.code() != ErrorCode::kUnsupported) throw;
    return false;
  }
  return true;
}

std::vector<std::unique_ptr<Communicator>> make_local_communicators(std::span<ComputeDevice* const> devices,
                                                                    std::chrono::milliseconds timeout,
                                                                    Links links) {
  const bool on_host = std::ranges::find(devices, nullptr) != devices.end();
  const bool through_host = !on_host && devices.size() > 1 && !share_memory(devices, links);
  const auto group = std::make_shared<Group>(static_cast<int>(devices.size()), timeout);
  std::vector<std::unique_ptr<Communicator>> ranks;
  for (ComputeDevice* const device : devices)
    ranks.push_back(
        std::make_unique<LocalCommunicator>(group, static_cast<int>(ranks.size()), device, through_host));
  return ranks;
}

std::vector<std::unique_ptr<Communicator>> make_local_communicators(int size,
                                                                    std::chrono::milliseconds timeout) {
  WAN_CHECK(size >= 1, kInvalidArgument, "[local communicator] at least one rank is needed, got {}", size);
  return make_local_communicators(std::vector<ComputeDevice*>(static_cast<std::size_t>(size), nullptr),
                                  timeout);
}

}  // namespace wan
