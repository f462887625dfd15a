// Signals that come while the CPU computes: oneDNN's products have the stack pointer in the heap at times.

#include "signals.h"

#include <gtest/gtest.h>

#include <csignal>
#include <vector>

namespace wan {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};

/// Puts back what a test has changed.
class Handlers {
 public:
  Handlers() {
    for (const int signal : kSignals) ::sigaction(signal, nullptr, &before_.emplace_back());
    pipe_ = std::signal(SIGPIPE, SIG_DFL);
  }
  ~Handlers() {
    for (std::size_t i = 0; i < before_.size(); ++i) ::sigaction(kSignals[i], &before_[i], nullptr);
    std::signal(SIGPIPE, pipe_);
  }
  Handlers(const Handlers&) = delete;
  Handlers& operator=(const Handlers&) = delete;

 private:
  std::vector<struct sigaction> before_;
  void (*pipe_)(int);
};

TEST(Signals, HaveAStackOfTheirOwn) {
  const Handlers handlers;
  watch_signals();
  stack_t stack{};
  ::sigaltstack(nullptr, &stack);
  EXPECT_EQ(stack.ss_flags & SS_DISABLE, 0);
  for (const int signal : kSignals) {
    struct sigaction action {};
    ::sigaction(signal, nullptr, &action);
    EXPECT_NE(action.sa_flags & SA_ONSTACK, 0) << signal;
    EXPECT_NE(action.sa_flags & SA_RESTART, 0) << signal;
  }
}

TEST(Signals, TheFirstOneIsSeenAndAnIgnoredHangupStaysIgnored) {
  const Handlers handlers;
  std::signal(SIGHUP, SIG_IGN);
  const std::atomic<bool>& interrupted = watch_signals();
  struct sigaction hangup {};
  ::sigaction(SIGHUP, nullptr, &hangup);
  EXPECT_EQ(hangup.sa_handler, SIG_IGN);
  ::raise(SIGTERM);
  EXPECT_TRUE(interrupted.load());
  struct sigaction second {};
  ::sigaction(SIGTERM, nullptr, &second);
  EXPECT_EQ(second.sa_handler, SIG_DFL) << "it ends the process";
}

}  // namespace
}  // namespace wan
