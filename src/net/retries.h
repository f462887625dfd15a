#pragma once
// Asking a server again: after a moment that grows, or when the server says.

#include <atomic>
#include <functional>
#include <string>

#include "net/http_client.h"

namespace wan {

struct RetryPolicy {
  int attempts = 5;
  double first_wait = 1;     // seconds, doubled each time
  double longest_wait = 60;  // a server that wants to be left alone for longer is not asked again
  /// Told before each wait: why, and how many seconds.
  std::function<void(const std::string& reason, double seconds)> waiting = {};
};

/// Whether the server may answer otherwise in a moment: 408, 425, 429, 500, 502, 503, 504.
bool may_pass(int status);

/// request() again and again, up to policy.attempts times, as long as it throws a TransferError that may pass or gives an answer that
/// may; what the last attempt gave or threw. Throws Cancelled while it waits.
HttpResponse with_retries(const RetryPolicy& policy, const std::atomic<bool>* cancelled,
                          const std::function<HttpResponse()>& request);

/// Sleeps. Throws Cancelled soon after it is set.
void wait_seconds(double seconds, const std::atomic<bool>* cancelled);

}  // namespace wan
