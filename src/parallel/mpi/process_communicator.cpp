#include "parallel/mpi/process_communicator.h"

#include <cstring>

namespace wan {

namespace {

enum class Exchange : std::uint32_t { kAllToAll = 1, kAllGather, kBroadcast, kBarrier };

/// Ends a letter, so that ranks that make different calls learn of it.
struct Stamp {
  std::uint64_t number = 0;  // of the exchange
  Exchange kind = Exchange::kBarrier;
  std::uint32_t unused = 0;
};

/// A contiguous view of so many bytes of host memory, shaped as `like`.
TensorView host_view(std::byte* bytes, const TensorView& like) {
  return {bytes, like.dtype(), like.shape()};
}

class ProcessCommunicator final : public Communicator {
 public:
  ProcessCommunicator(ProcessGroup& processes, RankGroup group, int rank, ComputeDevice* device,
                      std::chrono::milliseconds timeout)
      : processes_(processes), group_(std::move(group)), rank_(rank), device_(device), timeout_(timeout) {}
  ~ProcessCommunicator() override { processes_.leave(route(rank_, 0), group_.processes); }

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(group_.processes.size()); }

  void all_to_all(std::span<const TensorView> send, std::span<const TensorView> recv) override {
    check_collective_views(send, size(), "all_to_all");
    check_collective_views(recv, size(), "all_to_all");
    begin(Exchange::kAllToAll);
    for (int peer = 0; peer < size(); ++peer)
      if (peer != rank_) post(peer, packed(send[static_cast<std::size_t>(peer)]));
    copy(send[static_cast<std::size_t>(rank_)], recv[static_cast<std::size_t>(rank_)]);
    take_all(recv);
  }

  void all_gather(const TensorView& send, std::span<const TensorView> recv) override {
    check_collective_views(recv, size(), "all_gather");
    begin(Exchange::kAllGather);
    post_to_all(packed(send));
    copy(send, recv[static_cast<std::size_t>(rank_)]);
    take_all(recv);
  }

  void broadcast(const TensorView& data, int root) override {
    WAN_CHECK(root >= 0 && root < size(), kInternal, "[broadcast] root {} of {} ranks", root, size());
    begin(Exchange::kBroadcast);
    if (root == rank_)
      post_to_all(packed(data));
    else
      take(root, data);
  }

  void barrier() override {
    begin(Exchange::kBarrier);
    post_to_all({});
    for (int peer = 0; peer < size(); ++peer)
      if (peer != rank_) take(peer, {});
  }

  void abort(const Error& cause) noexcept override { processes_.fail_connection(group_.connection, cause); }
  void check() const override { processes_.check(group_.connection); }
  void begin_rest() noexcept override { processes_.change_resting(1); }
  void end_rest() noexcept override { processes_.change_resting(-1); }
  bool anyone_rests() const override { return processes_.anyone_rests(); }
  double waited_seconds() const override { return waited_; }

 private:
  Route route(int from, int to) const { return {group_.connection, group_.number, from, to}; }

  void begin(Exchange kind) { stamp_ = {.number = stamp_.number + 1, .kind = kind}; }

  void copy(const TensorView& from, const TensorView& to) {
    if (device_ != nullptr)
      device_->copy_from(from, to);
    else
      copy_on_host(from, to, "process communicator");
  }

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
      const Tensor rows(device_->allocator(), view.dtype(), view.shape());
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
      const Tensor rows(device_->allocator(), view.dtype(), view.shape());
      device_->upload(host, rows);
      device_->copy_from(rows, view);
    }
  }

  void post(int peer, Letter letter) {
    const auto* const stamp = reinterpret_cast<const std::byte*>(&stamp_);
    letter.insert(letter.end(), stamp, stamp + sizeof(Stamp));
    processes_.send(group_.processes[static_cast<std::size_t>(peer)], route(rank_, peer), std::move(letter));
  }

  void post_to_all(const Letter& letter) {
    for (int peer = 0; peer < size(); ++peer)
      if (peer != rank_) post(peer, letter);
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
    const std::size_t expected = into ? into.bytes() : 0;
    if (theirs.number != stamp_.number || theirs.kind != stamp_.kind || letter.size() != expected) {
      const Error error(
          ErrorCode::kDevice,
          format_message(
              "rank {}, on {}, sent {} bytes in its exchange {} (of kind {}), and rank {} expected {} "
              "in its exchange {} (of kind {})",
              peer, processes_.name(process), letter.size(), theirs.number, static_cast<int>(theirs.kind),
              rank_, expected, stamp_.number, static_cast<int>(stamp_.kind)));
      processes_.fail_connection(group_.connection, error);
      throw Error(error);
    }
    if (into) unpack(letter, into);
  }

  /// From the next rank on, so that they do not all wait for the same one.
  void take_all(std::span<const TensorView> recv) {
    for (int i = 1; i < size(); ++i) {
      const int peer = (rank_ + i) % size();
      take(peer, recv[static_cast<std::size_t>(peer)]);
    }
  }

  ProcessGroup& processes_;
  RankGroup group_;
  int rank_;
  ComputeDevice* device_;
  std::chrono::milliseconds timeout_;
  Stamp stamp_{};
  std::atomic<double> waited_{0};
};

}  // namespace

std::unique_ptr<Communicator> make_process_communicator(ProcessGroup& processes, RankGroup group, int rank,
                                                        ComputeDevice* device,
                                                        std::chrono::milliseconds timeout) {
  return std::make_unique<ProcessCommunicator>(processes, std::move(group), rank, device, timeout);
}

}  // namespace wan
