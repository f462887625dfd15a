#include "parallel/local/local_communicator.h"

#include <condition_variable>
#include <exception>
#include <mutex>

namespace wan {

namespace {

/// What the ranks share: a reusable barrier that can be aborted, and a board where each posts its views. A rank
/// leaves an aborted exchange only when nobody reads any rank's views any more, for its own may die with it.
class Group {
 public:
  explicit Group(int size) : size_(size), sent_(static_cast<std::size_t>(size)) {}

  int size() const { return size_; }

  void wait() { pass(0); }
  /// The barrier after which every rank reads, and then calls stop_reading().
  void wait_to_read() { pass(size_); }

  void stop_reading() noexcept {
    const std::lock_guard lock(mutex_);
    --reading_;
    changed_.notify_all();
  }

  void abort() noexcept {
    const std::lock_guard lock(mutex_);
    aborted_ = true;
    changed_.notify_all();
  }

  void post(int rank, std::span<const TensorView> views) { sent_[static_cast<std::size_t>(rank)] = views; }
  std::span<const TensorView> posted(int rank) const { return sent_[static_cast<std::size_t>(rank)]; }

 private:
  void pass(int readers) {
    std::unique_lock lock(mutex_);
    const std::uint64_t generation = generation_;
    if (!aborted_ && ++arrived_ == size_) {
      arrived_ = 0;
      reading_ = readers;
      ++generation_;
      changed_.notify_all();
      return;
    }
    changed_.wait(lock, [&] { return generation_ != generation || (aborted_ && reading_ == 0); });
    WAN_CHECK(generation_ != generation, kDevice,
              "[local communicator] another rank has failed; this rank stops too");
  }

  const int size_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int arrived_ = 0;
  int reading_ = 0;  // ranks that may still read what was posted
  std::uint64_t generation_ = 0;
  bool aborted_ = false;
  std::vector<std::span<const TensorView>> sent_;
};

class LocalCommunicator final : public Communicator {
 public:
  LocalCommunicator(std::shared_ptr<Group> group, int rank) : group_(std::move(group)), rank_(rank) {}
  ~LocalCommunicator() override { group_->abort(); }

  int rank() const override { return rank_; }
  int size() const override { return group_->size(); }

  void all_to_all(std::span<const TensorView> send, std::span<const TensorView> recv) override {
    check_collective_views(send, size(), "all_to_all");
    check_collective_views(recv, size(), "all_to_all");
    exchange(send, [&](int peer, std::span<const TensorView> theirs) {
      copy_on_host(theirs[static_cast<std::size_t>(rank_)], recv[static_cast<std::size_t>(peer)],
                   "all_to_all");
    });
  }

  void all_gather(const TensorView& send, std::span<const TensorView> recv) override {
    check_collective_views(recv, size(), "all_gather");
    exchange(std::span(&send, 1), [&](int peer, std::span<const TensorView> theirs) {
      copy_on_host(theirs[0], recv[static_cast<std::size_t>(peer)], "all_gather");
    });
  }

  void broadcast(const TensorView& data, int root) override {
    WAN_CHECK(root >= 0 && root < size(), kInternal, "[broadcast] root {} of {} ranks", root, size());
    exchange(std::span(&data, 1), [&](int peer, std::span<const TensorView> theirs) {
      if (peer == root) copy_on_host(theirs[0], data, "broadcast");
    });
  }

  void barrier() override { group_->wait(); }
  void abort() noexcept override { group_->abort(); }

 private:
  /// Posts this rank's views, visits every rank's, and holds everyone's buffers until all have read.
  template <typename Visit>
  void exchange(std::span<const TensorView> views, Visit&& visit) {
    group_->post(rank_, views);
    group_->wait_to_read();
    std::exception_ptr failure;
    try {
      for (int peer = 0; peer < size(); ++peer) visit(peer, group_->posted(peer));
    } catch (...) {
      failure = std::current_exception();
      group_->abort();
    }
    group_->stop_reading();
    try {
      group_->wait();
    } catch (const Error&) {
      if (!failure) throw;
    }
    if (failure) std::rethrow_exception(failure);
  }

  std::shared_ptr<Group> group_;
  int rank_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> make_local_communicators(int size) {
  WAN_CHECK(size >= 1, kInvalidArgument, "[local communicator] at least one rank is needed, got {}", size);
  const auto group = std::make_shared<Group>(size);
  std::vector<std::unique_ptr<Communicator>> ranks;
  for (int rank = 0; rank < size; ++rank) ranks.push_back(std::make_unique<LocalCommunicator>(group, rank));
  return ranks;
}

}  // namespace wan
