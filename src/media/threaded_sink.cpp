#include "media/threaded_sink.h"

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"

namespace wan {

namespace {

class ThreadedSink final : public FrameSink {
 public:
  ThreadedSink(std::unique_ptr<FrameSink> inner, std::size_t frame_bytes, std::size_t queue_frames)
      : inner_(std::move(inner)), frame_bytes_(frame_bytes), queue_frames_(queue_frames) {
    WAN_ASSERT(inner_ != nullptr && queue_frames_ > 0);
    thread_ = std::thread([this] { run(); });
  }

  ~ThreadedSink() override {
    if (!thread_.joinable()) return;
    end_with(End::kAbandoned);
    thread_.join();
  }

  void write(const std::uint8_t* rgb) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return queue_.size() < queue_frames_ || error_; });
    if (error_) std::rethrow_exception(error_);
    WAN_ASSERT(end_ == End::kNone);
    std::vector<std::uint8_t> frame;
    if (!spare_.empty()) {
      frame = std::move(spare_.back());
      spare_.pop_back();
    }
    lock.unlock();  // only this thread adds frames: the free place stays free during the copy
    frame.assign(rgb, rgb + frame_bytes_);
    lock.lock();
    queue_.push_back(std::move(frame));
    changed_.notify_all();
  }

  void finish() override {
    WAN_ASSERT(thread_.joinable());
    end_with(End::kFinish);
    thread_.join();
    if (error_) std::rethrow_exception(error_);
  }

 private:
  enum class End { kNone, kFinish, kAbandoned };

  void end_with(End end) {
    const std::lock_guard lock(mutex_);
    end_ = end;
    changed_.notify_all();
  }

  void run() {
    try {
      while (auto frame = next()) {
        inner_->write(frame->data());
        const std::lock_guard lock(mutex_);
        spare_.push_back(std::move(*frame));
      }
      if (end_ == End::kFinish) inner_->finish();  // next() has read end_ under the lock: it is final
    } catch (...) {
      const std::lock_guard lock(mutex_);
      error_ = std::current_exception();
      queue_.clear();
      changed_.notify_all();
    }
  }

  /// The next frame in turn; none once the end has come.
  std::optional<std::vector<std::uint8_t>> next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !queue_.empty() || end_ != End::kNone; });
    if (end_ == End::kAbandoned || queue_.empty()) return std::nullopt;
    std::optional frame = std::move(queue_.front());
    queue_.pop_front();
    changed_.notify_all();
    return frame;
  }

  const std::unique_ptr<FrameSink> inner_;  // used by the thread alone while it runs
  const std::size_t frame_bytes_;
  const std::size_t queue_frames_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::vector<std::uint8_t>> queue_;
  std::vector<std::vector<std::uint8_t>> spare_;  // memory of frames that are done
  std::exception_ptr error_;
  End end_ = End::kNone;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<FrameSink> make_threaded_sink(std::unique_ptr<FrameSink> inner, std::size_t frame_bytes,
                                              std::size_t queue_frames) {
  return std::make_unique<ThreadedSink>(std::move(inner), frame_bytes, queue_frames);
}

}  // namespace wan
