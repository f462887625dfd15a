#include "parallel/local/local_communicator.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <exception>
#include <functional>
#include <limits>
#include <utility>

#include "base/error.h"
#include "parallel/local/local_group.h"

namespace wan {

namespace {

using Mark = LocalGroup::Mark;

/// Page-locked memory of the host, of exchanges that are pending and of those that were.
class HostBuffers {
 public:
  /// `device` outlives it, or is nullptr where none is taken.
  explicit HostBuffers(ComputeDevice* device) : device_(device) {}

  Buffer take(std::size_t bytes) {
    const auto found =
        std::ranges::find_if(spare_, [&](const Buffer& buffer) { return buffer.size() >= bytes; });
    if (found != spare_.end()) {
      Buffer buffer = std::move(*found);
      spare_.erase(found);
      return buffer;
    }
    if (!spare_.empty()) {     // one that is too small makes room
      device_->synchronize();  // behind it are the others' reads of it
      spare_.pop_back();
    }
    return {device_->transfer_allocator(), bytes};
  }
  /// That the device's work, from now on, may write to.
  void give_back(Buffer buffer) {
    if (buffer.data() != nullptr) spare_.push_back(std::move(buffer));
  }

 private:
  ComputeDevice* device_;
  std::vector<Buffer> spare_;
};

class LocalCommunicator final : public Communicator {
 public:
  /// `device` is nullptr where all ranks work in the host's memory.
  LocalCommunicator(std::shared_ptr<LocalGroup> group, int rank, ComputeDevice* device, bool through_host)
      : group_(std::move(group)), rank_(rank), device_(device), through_host_(through_host), sent_(device) {
    if (device == nullptr || group_->size() == 1) return;
    arriving_ = device->make_copy_queue();
    if (through_host) leaving_ = device->make_copy_queue();
  }
  ~LocalCommunicator() override {
    group_->abort(Error(ErrorCode::kDevice, "another rank has ended, and this one stops too"));
    if (device_ == nullptr) return;
    try {
      for (const auto& queue : {arriving_.get(), leaving_.get()})
        if (queue != nullptr) device_->wait_for(*queue->mark());
      device_->synchronize();  // behind it are the others' last reads of what was sent
    } catch (const Error&) {   // of an earlier failure, that was told
    }
  }

  int rank() const override { return rank_; }
  int size() const override { return group_->size(); }

  void all_to_all(std::span<const TensorView> send, std::span<const TensorView> recv) override {
    begin_all_to_all(send, recv, Order::kWork)->finish();
  }

  std::unique_ptr<PendingExchange> begin_all_to_all(std::span<const TensorView> send,
                                                    std::span<const TensorView> recv) override {
    return begin_all_to_all(send, recv, arriving_ ? Order::kBeside : Order::kWork);
  }

  ExchangeSpeed exchange_speed() const override {
    if (!arriving_) return ExchangeSpeed::kAtOnce;
    return through_host_ ? ExchangeSpeed::kThroughHost : ExchangeSpeed::kDirect;
  }

  void all_gather(const TensorView& send, std::span<const TensorView> recv) override {
    check_collective_views(recv, size(), "all_gather");
    begin(
        std::span(&send, 1), [](std::size_t) { return true; },
        [&](int peer, std::span<const TensorView> theirs) {
          copy(theirs[0], recv[static_cast<std::size_t>(peer)]);
        },
        Order::kWork)
        ->finish();
  }

  void broadcast(const TensorView& data, int root) override {
    WAN_CHECK(root >= 0 && root < size(), kInternal, "[broadcast] root {} of {} ranks", root, size());
    begin(
        std::span(&data, 1), [&](std::size_t) { return rank_ == root; },
        [&](int peer, std::span<const TensorView> theirs) {
          if (peer == root && peer != rank_) copy(theirs[0], data);
        },
        Order::kWork)
        ->finish();
  }

  void barrier() override { wait(&LocalGroup::wait); }
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
  /// Of an exchange's copies.
  enum class Order {
    kWork,    // the device's own: they begin after all that is enqueued, and are done before what comes next
    kBeside,  // that of the queues
  };

  /// This rank's part of an exchange, from its post on.
  class Pending final : public PendingExchange {
   public:
    Pending(LocalCommunicator& ranks, std::uint64_t number) : ranks_(ranks), number_(number) {}
    ~Pending() override {
      ranks_.group_->wait_until_read();
      try {
        settle();
      } catch (const Error&) {  // of an earlier failure, that was told
      }
    }
    Pending(const Pending&) = delete;
    Pending& operator=(const Pending&) = delete;

    void finish() override {
      // All have read by the next barrier that they come to, whichever it is.
      if (ranks_.barriers_ == begun_at_) ranks_.wait(&LocalGroup::wait);
      settle();
    }

   private:
    friend LocalCommunicator;

    /// The device's work waits for what arrives here, and for what others read here.
    void settle() {
      if (std::exchange(settled_, true)) return;
      ranks_.last_used_[number_ % LocalGroup::kExchanges] = ranks_.barriers_;
      if (begun_at_ == 0) return;
      for (int i = 0; i < ranks_.size(); ++i) {
        const int peer = (ranks_.rank_ + i) % ranks_.size();
        if (peer != ranks_.rank_ || order_ == Order::kBeside)
          ranks_.wait_for(ranks_.group_->read(number_, peer));
      }
      ranks_.sent_.give_back(std::move(on_host_));
    }

    LocalCommunicator& ranks_;
    std::uint64_t number_;
    Order order_ = Order::kWork;
    std::uint64_t begun_at_ = 0;  // barriers; 0: nobody has read yet
    Buffer on_host_ = {};         // what is sent, where it goes through the host
    bool settled_ = false;
  };

  std::unique_ptr<Pending> begin_all_to_all(std::span<const TensorView> send,
                                            std::span<const TensorView> recv, Order order) {
    check_collective_views(send, size(), "all_to_all");
    check_collective_views(recv, size(), "all_to_all");
    return begin(
        send, [this](std::size_t view) { return static_cast<int>(view) != rank_; },
        [&, order](int peer, std::span<const TensorView> theirs) {
          const TensorView& from = theirs[static_cast<std::size_t>(rank_)];
          const TensorView& to = recv[static_cast<std::size_t>(peer)];
          // A copy within the device takes its processors' time in any order, and behind a kernel that fills them it would be late.
          if (order == Order::kBeside && peer != rank_)
            arriving_->copy(from, to);
          else
            copy(from, to);
        },
        order);
  }

  void wait(void (LocalGroup::*all)()) {
    const RankWait waits(waited_);
    (*group_.*all)();
    ++barriers_;
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

  /// Those of `views` that others read, in page-locked memory of the host, which `pending` holds, from the mark that is returned on.
  LocalGroup::Posted to_host(std::span<const TensorView> views,
                             const std::function<bool(std::size_t view)>& is_read, Pending& pending) {
    std::size_t bytes = 0;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < views.size(); ++i) {
      places.push_back(bytes);
      constexpr std::size_t kAlignment = 256;
      if (is_read(i)) bytes += (views[i].bytes() + kAlignment - 1) / kAlignment * kAlignment;
    }
    if (bytes > 0) pending.on_host_ = sent_.take(bytes);
    const bool beside = pending.order_ == Order::kBeside;
    if (beside) leaving_->wait_for(*mark());
    LocalGroup::Posted posted;
    for (std::size_t i = 0; i < views.size(); ++i) {
      if (!is_read(i) || views[i].bytes() == 0) {
        posted.views.push_back(views[i]);
        continue;
      }
      posted.views.emplace_back(pending.on_host_.data() + places[i], views[i].dtype(), views[i].shape(),
                                Device{});
      if (beside)
        leaving_->copy(views[i], posted.views.back());
      else
        device_->copy_out(views[i], posted.views.back());
    }
    posted.ready = beside ? leaving_->mark() : mark();
    return posted;
  }

  /// Posts this rank's views, and visits every rank's from the next one on. Others read the views that is_read() names, and everyone's
  /// buffers are held until all have.
  std::unique_ptr<Pending> begin(
      std::span<const TensorView> views, const std::function<bool(std::size_t view)>& is_read,
      const std::function<void(int peer, std::span<const TensorView> theirs)>& visit, Order order) {
    const std::uint64_t number = exchanges_++;
    std::uint64_t& last_used = last_used_[number % LocalGroup::kExchanges];
    WAN_CHECK(last_used != kPending, kInternal, "[local communicator] more than {} exchanges are pending",
              LocalGroup::kExchanges);
    if (last_used == barriers_) wait(&LocalGroup::wait);
    auto pending = std::make_unique<Pending>(*this, number);
    last_used = kPending;
    pending->order_ = order;
    LocalGroup::Posted posted{std::vector(views.begin(), views.end()), nullptr};
    if (through_host_)
      posted = to_host(views, is_read, *pending);
    else
      posted.ready = mark();
    group_->post(number, rank_, std::move(posted));
    wait(&LocalGroup::wait_to_read);
    pending->begun_at_ = barriers_;
    std::exception_ptr failure;
    try {
      if (order == Order::kBeside) arriving_->wait_for(*mark());  // what is received into may still be in use
      for (int i = 0; i < size(); ++i) {
        const int peer = (rank_ + i) % size();
        const LocalGroup::Posted& theirs = group_->posted(number, peer);
        if (peer != rank_ && theirs.ready != nullptr) {
          if (order == Order::kBeside)
            arriving_->wait_for(*theirs.ready);
          else
            wait_for(theirs.ready);
        }
        visit(peer, peer == rank_ ? views : theirs.views);
      }
      group_->post_read(number, rank_, order == Order::kBeside ? arriving_->mark() : mark());
    } catch (const std::exception& error) {
      failure = std::current_exception();
      const auto* const known = dynamic_cast<const Error*>(&error);
      group_->abort(known != nullptr ? *known : Error(ErrorCode::kInternal, error.what()));
    }
    group_->stop_reading();
    if (failure) std::rethrow_exception(failure);
    return pending;
  }

  static constexpr std::uint64_t kPending = std::numeric_limits<std::uint64_t>::max();

  std::shared_ptr<LocalGroup> group_;
  int rank_;
  ComputeDevice* device_;
  bool through_host_;
  HostBuffers sent_;
  // Of copies beside the work: into this device's memory, and out of it into the host's. Apart, for a link carries both at once.
  std::unique_ptr<CopyQueue> arriving_;
  std::unique_ptr<CopyQueue> leaving_;
  std::uint64_t exchanges_ = 0;
  std::uint64_t barriers_ = 1;                                     // passed so far
  std::array<std::uint64_t, LocalGroup::kExchanges> last_used_{};  // barriers passed then; kPending
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
  const auto group = std::make_shared<LocalGroup>(static_cast<int>(devices.size()), timeout);
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
