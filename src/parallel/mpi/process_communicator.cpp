#include "parallel/mpi/process_communicator.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>

namespace wan {

namespace {

enum class Exchange : std::uint32_t { kAllToAll = 1, kAllGather, kBroadcast, kBarrier };

/// Ends a letter, so that ranks that make different calls learn of it.
struct Stamp {
  std::uint64_t number = 0;  // of the exchange
  Exchange kind = Exchange::kBarrier;
  std::uint32_t unused = 0;
  std::uint64_t bytes = 0;  // that its sender gives the receiver
};

/// A contiguous view of so many bytes of host memory, shaped as `like`.
TensorView host_view(std::byte* bytes, const TensorView& like) {
  return {bytes, like.dtype(), like.shape()};
}

/// Ends the exchanges of a group of devices when their connection fails, and the connection when a device stands in an exchange for
/// longer than `timeout`: the rank's own thread may be waiting for its device then.
class GroupWatch {
 public:
  GroupWatch(ProcessGroup& processes, std::uint32_t connection, int rank, DeviceGroup& devices,
             std::chrono::milliseconds timeout)
      : processes_(processes), connection_(connection), rank_(rank), devices_(devices), timeout_(timeout) {
    thread_ = std::thread([this] { watch(); });
  }
  ~GroupWatch() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
    if (has_failed()) devices_.abort();
  }
  GroupWatch(const GroupWatch&) = delete;
  GroupWatch& operator=(const GroupWatch&) = delete;

 private:
  bool has_failed() const {
    try {
      processes_.check(connection_);
      return false;
    } catch (const Error&) {
      return true;
    }
  }

  void watch() {
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, kSlice, [&] { return stop_; })) {
      lock.unlock();
      try {
        look();
      } catch (const Error& error) {  // the device's own
        processes_.fail_connection(connection_, error);
      }
      if (has_failed()) return devices_.abort();
      lock.lock();
    }
  }

  /// In slices, of which a process that was stopped meanwhile loses one and not all.
  void look() {
    const std::optional<std::uint64_t> exchange = devices_.under_way();
    if (exchange != exchange_) stood_ = {};
    exchange_ = exchange;
    if (!exchange_ || processes_.anyone_rests()) return;
    stood_ += kSlice;
    WAN_CHECK_FIELD(stood_ < timeout_, kDevice, "rank_timeout",
                    "rank {}'s device has stood in an exchange for {:.3g} s: another rank's device does not "
                    "answer, or its work takes longer than `rank_timeout` says",
                    rank_, std::chrono::duration<double>(timeout_).count());
  }

  static constexpr std::chrono::milliseconds kSlice{50};

  ProcessGroup& processes_;
  std::uint32_t connection_;
  int rank_;
  DeviceGroup& devices_;
  std::chrono::milliseconds timeout_;
  std::optional<std::uint64_t> exchange_;  // that the device stands in
  std::chrono::milliseconds stood_{};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;
  std::thread thread_;
};

class ProcessCommunicator final : public Communicator {
 public:
  ProcessCommunicator(ProcessGroup& processes, RankGroup group, int rank, RankMemory memory,
                      std::chrono::milliseconds timeout)
      : processes_(processes),
        group_(std::move(group)),
        rank_(rank),
        device_(memory.device),
        devices_(std::move(memory.devices)),
        timeout_(timeout) {
    if (devices_) watch_.emplace(processes_, group_.connection, rank_, *devices_, timeout_);
  }
  ~ProcessCommunicator() override { processes_.leave(route(rank_, 0), group_.processes); }

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(group_.processes.size()); }

  void all_to_all(std::span<const TensorView> send, std::span<const TensorView> recv) override {
    begin_all_to_all(send, recv)->finish();
  }

  /// Letters have come when this returns; devices go on by themselves.
  std::unique_ptr<PendingExchange> begin_all_to_all(std::span<const TensorView> send,
                                                    std::span<const TensorView> recv) override {
    check_collective_views(send, size(), "all_to_all");
    check_collective_views(recv, size(), "all_to_all");
    begin(Exchange::kAllToAll);
    for (int peer = 0; peer < size(); ++peer)
      if (peer != rank_) give(peer, send[static_cast<std::size_t>(peer)]);
    copy(send[static_cast<std::size_t>(rank_)], recv[static_cast<std::size_t>(rank_)]);
    take_all(recv);
    return exchange_between_devices();
  }

  ExchangeSpeed exchange_speed() const override {
    if (!devices_) return ExchangeSpeed::kAtOnce;
    const int machine = processes_.machine(group_.processes.front());
    const bool one = std::ranges::all_of(group_.processes,
                                         [&](int other) { return processes_.machine(other) == machine; });
    return one ? ExchangeSpeed::kDirect : ExchangeSpeed::kThroughHost;
  }

  void all_gather(const TensorView& send, std::span<const TensorView> recv) override {
    check_collective_views(recv, size(), "all_gather");
    begin(Exchange::kAllGather);
    give_to_all(send);
    copy(send, recv[static_cast<std::size_t>(rank_)]);
    take_all(recv);
    exchange_between_devices()->finish();
  }

  void broadcast(const TensorView& data, int root) override {
    WAN_CHECK(root >= 0 && root < size(), kInternal, "[broadcast] root {} of {} ranks", root, size());
    begin(Exchange::kBroadcast);
    if (root == rank_)
      give_to_all(data);
    else
      take(root, data);
    exchange_between_devices()->finish();
  }

  void barrier() override {
    begin(Exchange::kBarrier);
    give_to_all({});
    for (int peer = 0; peer < size(); ++peer)
      if (peer != rank_) take(peer, {});
  }

  void abort(const Error& cause) noexcept override { processes_.fail_connection(group_.connection, cause); }
  void check() const override { processes_.check(group_.connection); }
  void begin_rest() noexcept override { processes_.change_resting(1); }
  void end_rest() noexcept override { processes_.change_resting(-1); }
  bool anyone_rests() const override { return processes_.anyone_rests(); }
  /// A device that exchanges by itself goes on with its work while its rank's thread waits here.
  double waited_seconds() const override { return devices_ ? 0 : waited_.load(); }

 private:
  using Transfers = std::vector<DeviceGroup::Transfer>;

  /// One between devices, until the device's work comes after it; one that is over otherwise.
  class Pending final : public PendingExchange {
   public:
    explicit Pending(ComputeDevice* device) : device_(device) {}
    ~Pending() override {
      try {
        settle();
      } catch (const Error&) {  // of an earlier failure, that was told
      }
    }
    Pending(const Pending&) = delete;
    Pending& operator=(const Pending&) = delete;

    void finish() override {
      settle();
      for (const auto& [rows, into] : unpacked_) device_->copy_from(rows, into);
      unpacked_.clear();
      packed_.clear();
    }

   private:
    friend ProcessCommunicator;

    /// Memory that is exchanged is given back in the order of the device's work.
    void settle() {
      if (const auto done = std::exchange(done_, nullptr)) device_->wait_for(*done);
    }

    ComputeDevice* device_;
    std::vector<Tensor> packed_;
    std::vector<std::pair<TensorView, TensorView>> unpacked_;  // contiguous, and where it goes
    std::shared_ptr<const WorkMark> done_;
  };

  Route route(int from, int to) const { return {group_.connection, group_.number, from, to}; }

  void begin(Exchange kind) {
    stamp_ = {.number = stamp_.number + 1, .kind = kind};
    sent_.clear();
    received_.clear();
    pending_ = std::make_unique<Pending>(device_);
  }

  void copy(const TensorView& from, const TensorView& to) {
    if (device_ != nullptr)
      device_->copy_from(from, to);
    else
      copy_on_host(from, to, "process communicator");
  }

  /// Contiguous memory of the device for a view that is not; it is given back in the order of the device's work.
  Tensor rows_for(const TensorView& view) const { return {device_->allocator(), view.dtype(), view.shape()}; }

  Letter packed(const TensorView& view) {
    Letter letter;
    letter.reserve(view.bytes() + sizeof(Stamp));
    letter.resize(view.bytes());
    if (view.bytes() == 0) return letter;
    const TensorView host = host_view(letter.data(), view);
    if (device_ == nullptr) {
      copy_on_host(view, host, "process communicator");
    } else if (view.is_contiguous()) {
      device_->download(view, host);
    } else {
      const Tensor rows = rows_for(view);
      device_->copy_from(view, rows);
      device_->download(rows, host);
    }
    return letter;
  }

  void unpack(Letter& letter, const TensorView& view) {
    if (view.bytes() == 0) return;
    const TensorView host = host_view(letter.data(), view);
    if (device_ == nullptr) {
      copy_on_host(host, view, "process communicator");
    } else if (view.is_contiguous()) {
      device_->upload(host, view);
    } else {
      const Tensor rows = rows_for(view);
      device_->upload(host, rows);
      device_->copy_from(rows, view);
    }
  }

  static std::uint64_t bytes_of(const TensorView& view) { return view ? view.bytes() : 0; }

  void post(int peer, Letter letter, std::uint64_t bytes) {
    stamp_.bytes = bytes;
    const auto* const stamp = reinterpret_cast<const std::byte*>(&stamp_);
    letter.insert(letter.end(), stamp, stamp + sizeof(Stamp));
    processes_.send(group_.processes[static_cast<std::size_t>(peer)], route(rank_, peer), std::move(letter));
  }

  /// What is to be sent, on the device, until the exchange has begun.
  TensorView contiguous(const TensorView& view) {
    if (view.is_contiguous()) return view;
    pending_->packed_.push_back(rows_for(view));
    device_->copy_from(view, pending_->packed_.back());
    return pending_->packed_.back();
  }

  void give(int peer, const TensorView& view) {
    if (!devices_) return post(peer, view ? packed(view) : Letter(), bytes_of(view));
    if (bytes_of(view) > 0) sent_.push_back({peer, contiguous(view)});
    post(peer, {}, bytes_of(view));
  }

  void give_to_all(const TensorView& view) {
    Letter letter;
    TensorView on_device;
    if (!devices_ && view) letter = packed(view);
    if (devices_ && bytes_of(view) > 0) on_device = contiguous(view);
    for (int peer = 0; peer < size(); ++peer) {
      if (peer == rank_) continue;
      if (on_device) sent_.push_back({peer, on_device});
      post(peer, letter, bytes_of(view));
    }
  }

  Letter receive(int process, int peer) {
    const RankWait waits(waited_);
    return processes_.receive(process, route(peer, rank_), timeout_);
  }

  void take(int peer, const TensorView& into) {
    const int process = group_.processes[static_cast<std::size_t>(peer)];
    Letter letter = receive(process, peer);
    Stamp theirs;
    WAN_ASSERT(letter.size() >= sizeof(Stamp));
    std::memcpy(&theirs, letter.data() + letter.size() - sizeof(Stamp), sizeof(Stamp));
    letter.resize(letter.size() - sizeof(Stamp));
    const std::uint64_t expected = bytes_of(into);
    if (theirs.number != stamp_.number || theirs.kind != stamp_.kind || theirs.bytes != expected ||
        letter.size() != (devices_ ? 0 : expected)) {
      const Error error(
          ErrorCode::kDevice,
          format_message(
              "rank {}, on {}, sent {} bytes in its exchange {} (of kind {}), and rank {} expected {} "
              "in its exchange {} (of kind {})",
              peer, processes_.name(process), theirs.bytes, theirs.number, static_cast<int>(theirs.kind),
              rank_, expected, stamp_.number, static_cast<int>(stamp_.kind)));
      processes_.fail_connection(group_.connection, error);
      throw Error(error);
    }
    if (expected == 0) return;
    if (devices_)
      received_.push_back({peer, place_for(into)});
    else
      unpack(letter, into);
  }

  TensorView place_for(const TensorView& into) {
    if (into.is_contiguous()) return into;
    pending_->packed_.push_back(rows_for(into));
    pending_->unpacked_.push_back({pending_->packed_.back(), into});
    return pending_->packed_.back();
  }

  /// From the next rank on, so that they do not all wait for the same one.
  void take_all(std::span<const TensorView> recv) {
    for (int i = 1; i < size(); ++i) {
      const int peer = (rank_ + i) % size();
      take(peer, recv[static_cast<std::size_t>(peer)]);
    }
  }

  /// Once every peer of this exchange has come to it.
  std::unique_ptr<PendingExchange> exchange_between_devices() {
    if (!devices_ || (sent_.empty() && received_.empty())) return std::move(pending_);
    try {
      const auto start = std::chrono::steady_clock::now();
      pending_->done_ = devices_->exchange(sent_, received_, [&] {
        check();
        WAN_CHECK_FIELD(std::chrono::steady_clock::now() - start < timeout_ || anyone_rests(), kDevice,
                        "rank_timeout",
                        "rank {}'s device could not begin an exchange within {:.3g} s: a device or the "
                        "network does not answer",
                        rank_, std::chrono::duration<double>(timeout_).count());
      });
    } catch (const Error& error) {
      check();  // where it has failed already, that is why
      processes_.fail_connection(group_.connection, error);
      throw;
    }
    return std::move(pending_);
  }

  ProcessGroup& processes_;
  RankGroup group_;
  int rank_;
  ComputeDevice* device_;
  std::shared_ptr<DeviceGroup> devices_;
  std::chrono::milliseconds timeout_;
  Stamp stamp_{};
  // Of an exchange between devices.
  Transfers sent_;
  Transfers received_;
  std::unique_ptr<Pending> pending_;  // while it begins
  std::atomic<double> waited_{0};
  std::optional<GroupWatch> watch_;
};

}  // namespace

std::unique_ptr<Communicator> make_process_communicator(ProcessGroup& processes, RankGroup group, int rank,
                                                        RankMemory memory,
                                                        std::chrono::milliseconds timeout) {
  return std::make_unique<ProcessCommunicator>(processes, std::move(group), rank, std::move(memory), timeout);
}

}  // namespace wan
