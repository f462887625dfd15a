#include "wan/download.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "download/file_transfer.h"
#include "download/hub.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

/// The nearest folder above that exists: the disk that a new one will be on.
fs::path existing_parent(fs::path folder) {
  folder = real_path(folder);
  while (!is_folder(folder) && folder.has_relative_path()) folder = folder.parent_path();
  return folder;
}

void check_disk(const DownloadPlan& plan) {
  const std::int64_t missing = plan.missing_bytes();
  const auto free = free_disk_bytes(existing_parent(plan.folder));
  WAN_CHECK_FIELD(
      !free || missing <= *free, kIo, "local_dir",
      "the disk of {} has {:.2f} GB free, and {:.2f} GB are yet to come; free some space, or name a folder "
      "on another disk as `local_dir`",
      plan.folder.string(), static_cast<double>(*free) * 1e-9, static_cast<double>(missing) * 1e-9);
}

/// The threads that fetch files, and what they tell the thread that waits for them.
class Workers {
 public:
  Workers(const Hub& hub, const DownloadOptions& options, const DownloadPlan& plan)
      : context_{.hub = hub,
                 .plan = plan,
                 .progress = [this](const DownloadFile& file, std::int64_t bytes) { count(file, bytes); },
                 .notice = [this](const std::string& message) { tell(message); }},
        timeout_(options.timeout) {
    const auto most = static_cast<int>(plan.files.size());
    const int count = std::clamp(options.connections, 1, std::max(1, std::min(most, kMostConnections)));
    running_ = count;  // which the first threads may count down before the last ones begin
    try {
      for (int i = 0; i < count; ++i) threads_.emplace_back([this] { work(); });
    } catch (...) {  // no further thread can be had
      end();
      throw;
    }
  }
  ~Workers() { end(); }
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  /// Until all are done, telling how far they are; throws what one of them has thrown.
  void wait(const EventHandler& on_event, std::int64_t total, const std::atomic<bool>* cancelled) {
    const Clock::time_point begin = Clock::now();
    const auto seconds = [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); };
    on_event(PhaseStarted{.phase = Phase::kDownload, .total = total});
    std::int64_t told = -1;
    for (bool done = false; !done;) {
      std::vector<std::string> notices;
      std::int64_t bytes = 0;
      {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, std::chrono::milliseconds(100), [&] { return running_ == 0; });
        done = running_ == 0;
        notices.swap(notices_);
        bytes = std::clamp<std::int64_t>(bytes_, 0, total);
      }
      if (cancelled != nullptr && *cancelled) stop_ = true;
      for (const std::string& notice : notices) on_event(Notice{notice});
      if (bytes != told && !stop_)
        on_event(
            PhaseProgress{.phase = Phase::kDownload, .done = bytes, .total = total, .seconds = seconds()});
      told = bytes;
    }
    WAN_CHECK(cancelled == nullptr || !*cancelled, kCancelled,
              "what has come is kept, and the same command goes on with it");
    if (failure_) std::rethrow_exception(failure_);
    on_event(PhaseFinished{.phase = Phase::kDownload, .seconds = seconds()});
  }

 private:
  static constexpr int kMostConnections = 32;

  void end() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

  void work() {
    try {
      Connection connection{
          .credentials = context_.hub.credentials(), .timeout = timeout_, .cancelled = &stop_};
      while (const DownloadFile* const file = next()) fetch_file(connection, context_, *file);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!stop_) failure_ = std::current_exception();  // not that it was stopped
      stop_ = true;
    }
    const std::lock_guard lock(mutex_);
    --running_;
    changed_.notify_all();
  }
  const DownloadFile* next() {
    const std::lock_guard lock(mutex_);
    if (stop_ || next_ == context_.plan.files.size()) return nullptr;
    return &context_.plan.files[next_++];
  }
  void count(const DownloadFile& file, std::int64_t bytes) {
    const std::lock_guard lock(mutex_);
    std::int64_t& counted = counted_[&file];
    bytes_ += bytes - file.part - counted;
    counted = bytes - file.part;
  }
  void tell(const std::string& message) {
    const std::lock_guard lock(mutex_);
    notices_.push_back(message);
  }

  TransferContext context_;
  double timeout_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t next_ = 0;
  int running_ = 0;
  std::int64_t bytes_ = 0;  // that have come, of those that were missing
  std::map<const DownloadFile*, std::int64_t> counted_;
  std::vector<std::string> notices_;
  std::exception_ptr failure_ = nullptr;
  std::atomic<bool> stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

void download(const DownloadOptions& options, const DownloadPlan& plan, const EventHandler& on_event,
              const std::atomic<bool>* cancelled) {
  check_disk(plan);
  const std::unique_ptr<Hub> hub = find_hub(options.source);
  if (!hub->notice().empty()) on_event(Notice{hub->notice()});
  Workers(*hub, options, plan).wait(on_event, plan.missing_bytes(), cancelled);
}

}  // namespace wan
