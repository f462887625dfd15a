// Exchanges between devices whose work lags behind their threads, as GPUs' does: in the order that marks give, directly and through the
// host's memory.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <random>
#include <thread>

#include "parallel/local/local_communicator.h"

namespace wan::test {
namespace {

using std::chrono::microseconds;

class FutureMark final : public WorkMark {
 public:
  explicit FutureMark(std::shared_future<void> over) : over_(std::move(over)) {}
  void wait() const override { over_.wait(); }
  const std::shared_future<void>& over() const { return over_; }

 private:
  std::shared_future<void> over_;
};

/// Does what it is given one after the other on a thread of its own, and takes its time.
class Worker {
 public:
  explicit Worker(unsigned seed) : random_(seed), thread_([this] { run(); }) {}
  ~Worker() {
    enqueue({});
    thread_.join();
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void enqueue(std::function<void()> work) {
    const std::lock_guard lock(mutex_);
    work_.push_back(std::move(work));
    changed_.notify_one();
  }
  std::shared_ptr<const WorkMark> mark() {
    const auto reached = std::make_shared<std::promise<void>>();
    enqueue([reached] { reached->set_value(); });
    return std::make_shared<const FutureMark>(reached->get_future().share());
  }
  void wait_for(const WorkMark& mark) {
    enqueue([over = dynamic_cast<const FutureMark&>(mark).over()] { over.wait(); });
  }

 private:
  void run() {
    while (true) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return !work_.empty(); });
      const std::function<void()> work = std::move(work_.front());
      work_.pop_front();
      lock.unlock();
      if (!work) return;
      std::this_thread::sleep_for(microseconds(random_() % 200));
      work();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> work_;
  std::minstd_rand random_;
  std::thread thread_;
};

class LaggingCopies final : public CopyQueue {
 public:
  explicit LaggingCopies(unsigned seed) : worker_(seed) {}
  void wait_for(const WorkMark& mark) override { worker_.wait_for(mark); }
  void copy(const TensorView& from, const TensorView& to) override {
    worker_.enqueue([copy = row_copy(from, to)] { copy_rows(copy); });
  }
  std::shared_ptr<const WorkMark> mark() override { return worker_.mark(); }

 private:
  Worker worker_;
};

class LaggingDevice final : public ComputeDevice {
 public:
  explicit LaggingDevice(unsigned seed) : seed_(seed), work_(seed) {}
  const char* name() const override { return "lagging"; }
  Device device() const override { return {}; }
  Allocator& allocator() override { return cpu_allocator(); }
  void synchronize() override { work_.mark()->wait(); }
  void upload(const TensorView&, const TensorView&) override {}
  void download(const TensorView&, const TensorView&) override {}
  std::shared_ptr<const WorkMark> mark_work() noexcept override { return work_.mark(); }
  void wait_for(const WorkMark& mark) override { work_.wait_for(mark); }
  void copy_from(const TensorView& from, const TensorView& to) override {
    work_.enqueue([copy = row_copy(from, to)] { copy_rows(copy); });
  }
  void copy_out(const TensorView& from, const TensorView& to) override { copy_from(from, to); }
  std::unique_ptr<CopyQueue> make_copy_queue() override {
    return std::make_unique<LaggingCopies>(seed_ += 100);
  }
  void enqueue(std::function<void()> work) { work_.enqueue(std::move(work)); }

 private:
  unsigned seed_;
  Worker work_;
};

float sent_value(int from, int to, int exchange) {
  return static_cast<float>(10000 * exchange + 100 * from + to);
}

/// One exchange of a rank, in memory that the next ones use again.
struct Exchanged {
  explicit Exchanged(int ranks, std::int64_t elements = 64) {
    for (int peer = 0; peer < ranks; ++peer) {
      send.push_back(out.emplace_back(DType::kF32, Shape{elements}));
      recv.push_back(in.emplace_back(DType::kF32, Shape{elements}));
    }
  }
  /// As kernels would.
  void write(LaggingDevice& device, int rank, int exchange) {
    device.enqueue([=, this] {
      for (int peer = 0; const TensorView& view : send)
        std::fill_n(view.as<float>(), view.elements(), sent_value(rank, peer++, exchange));
    });
  }
  void expect(LaggingDevice& device, int rank, int exchange) {
    device.enqueue([=, this] {
      for (int peer = 0; const TensorView& view : recv) {
        for (std::int64_t i = 0; i < view.elements(); ++i)
          EXPECT_EQ(view.as<float>()[i], sent_value(peer, rank, exchange));
        std::fill_n(view.as<float>(), view.elements(), -1.0f);
        ++peer;
      }
    });
  }

  std::vector<Tensor> out, in;
  std::vector<TensorView> send, recv;
};

class LaggingDevices : public ::testing::TestWithParam<std::tuple<int, Links>> {
 protected:
  LaggingDevices() {
    for (int rank = 0; rank < ranks(); ++rank)
      devices_.push_back(std::make_unique<LaggingDevice>(static_cast<unsigned>(rank + 1)));
  }
  static int ranks() { return std::get<0>(GetParam()); }

  void run(const std::function<void(Communicator&, LaggingDevice&)>& body) {
    std::vector<ComputeDevice*> devices;
    for (const auto& device : devices_) devices.push_back(device.get());
    const auto communicators = make_local_communicators(devices, kRankTimeout, std::get<1>(GetParam()));
    std::vector<std::thread> threads;
    for (std::size_t rank = 0; rank < devices_.size(); ++rank)
      threads.emplace_back([&, rank] { body(*communicators[rank], *devices_[rank]); });
    for (std::thread& thread : threads) thread.join();
  }

  std::vector<std::unique_ptr<LaggingDevice>> devices_;
};

TEST_P(LaggingDevices, FindWhatWasSentAndNothingElse) {
  constexpr int kRounds = 30;
  run([](Communicator& c, LaggingDevice& device) {
    Exchanged first(c.size());
    Exchanged second(c.size(), 100);
    Exchanged third(c.size(), 300);
    for (int round = 0; round < kRounds; ++round) {
      const int exchange = 10 * round;
      first.write(device, c.rank(), exchange);
      const auto one = c.begin_all_to_all(first.send, first.recv);
      second.write(device, c.rank(), exchange + 1);
      const auto two = c.begin_all_to_all(second.send, second.recv);
      one->finish();
      first.expect(device, c.rank(), exchange);
      first.write(device, -1, exchange);  // what others must not find
      third.write(device, c.rank(), exchange + 2);
      c.all_to_all(third.send, third.recv);
      third.expect(device, c.rank(), exchange + 2);
      third.write(device, c.rank(), exchange + 3);
      const auto three = c.begin_all_to_all(third.send, third.recv);  // into what the device still looks at
      two->finish();
      second.expect(device, c.rank(), exchange + 1);
      three->finish();
      third.expect(device, c.rank(), exchange + 3);
      third.write(device, -1, exchange);
    }
    device.synchronize();
    c.barrier();
  });
}

TEST_P(LaggingDevices, SayHowTheirExchangesGoOn) {
  run([](Communicator& c, LaggingDevice&) {
    EXPECT_EQ(c.exchange_speed(),
              std::get<1>(GetParam()) == Links::kHost ? ExchangeSpeed::kThroughHost : ExchangeSpeed::kDirect);
  });
}

INSTANTIATE_TEST_SUITE_P(RanksAndLinks, LaggingDevices,
                         ::testing::Combine(::testing::Values(2, 3),
                                            ::testing::Values(Links::kDirect, Links::kHost)));

/// Copies at once, and takes its time for it.
class SlowDevice final : public ComputeDevice {
 public:
  explicit SlowDevice(std::chrono::milliseconds time) : time_(time) {}
  const char* name() const override { return "slow"; }
  Device device() const override { return {}; }
  Allocator& allocator() override { return cpu_allocator(); }
  void synchronize() override {}
  void upload(const TensorView&, const TensorView&) override {}
  void download(const TensorView&, const TensorView&) override {}
  void copy_from(const TensorView& from, const TensorView& to) override {
    std::this_thread::sleep_for(time_);
    copy_rows(row_copy(from, to));
    ++copies_;
  }
  int copies() const { return copies_; }

 private:
  std::chrono::milliseconds time_;
  std::atomic<int> copies_{0};
};

TEST(PendingExchange, ARankThatFailsLeavesWhenNobodyReadsItsMemory) {
  SlowDevice slow(std::chrono::milliseconds(100));
  SlowDevice fast(std::chrono::milliseconds(0));
  ComputeDevice* const devices[] = {&slow, &fast};
  const auto communicators = make_local_communicators(devices);
  std::thread other([&] {
    Exchanged exchanged(2);
    const auto pending = communicators[0]->begin_all_to_all(exchanged.send, exchanged.recv);
    EXPECT_THROW(pending->finish(), Error);
  });
  Exchanged exchanged(2);
  {
    const auto pending = communicators[1]->begin_all_to_all(exchanged.send, exchanged.recv);
    communicators[1]->abort(Error(ErrorCode::kOutOfMemory, "behind the begin"));
  }
  EXPECT_EQ(slow.copies(), 2);
  other.join();
}

}  // namespace
}  // namespace wan::test
