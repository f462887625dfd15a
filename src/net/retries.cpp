#include "net/retries.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>

#include "base/error.h"

namespace wan {

bool may_pass(int status) {
  constexpr int kPassing[] = {408, 425, 429, 500, 502, 503, 504};
  return std::ranges::find(kPassing, status) != std::end(kPassing);
}

void wait_seconds(double seconds, const std::atomic<bool>* cancelled) {
  using Clock = std::chrono::steady_clock;
  const auto end =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  for (;;) {
    WAN_CHECK(cancelled == nullptr || !*cancelled, kCancelled, "stopped while waiting for a server");
    const auto now = Clock::now();
    if (now >= end) return;
    std::this_thread::sleep_for(std::min<Clock::duration>(end - now, std::chrono::milliseconds(50)));
  }
}

HttpResponse with_retries(const RetryPolicy& policy, const std::atomic<bool>* cancelled,
                          const std::function<HttpResponse()>& request) {
  double wait = policy.first_wait;
  for (int attempt = 1;; ++attempt) {
    std::string reason;
    double seconds = wait;
    try {
      HttpResponse answer = request();
      if (!may_pass(answer.status) || attempt == policy.attempts) return answer;
      seconds = std::max(seconds, answer.retry_after.value_or(0));
      if (seconds > policy.longest_wait) return answer;
      reason = fmt::format("the server answers {}", answer.status);
    } catch (const TransferError& error) {
      if (!error.may_pass() || attempt == policy.attempts) throw;
      reason = error.what();
    }
    if (policy.waiting) policy.waiting(reason, seconds);
    wait_seconds(seconds, cancelled);
    wait = std::min(2 * wait, policy.longest_wait);
  }
}

}  // namespace wan
