#include "signals.h"

#include <array>
#include <csignal>
#include <cstddef>

namespace wan {

namespace {

std::atomic<bool> interrupted{false};

/// The first Ctrl-C asks the run to stop and to keep what it has; the second one ends the process at once.
void on_interrupt(int signal) {
  interrupted.store(true);
  std::signal(signal, SIG_DFL);
}

/// When a terminal closes, the kernel and the shell each send one: the second must not end what the first began.
void on_hangup(int) {
  interrupted.store(true);
}

/// oneDNN's products have the stack pointer in the heap at times, where a handler would write over whatever lies below it: handlers
/// have a stack of their own.
void take_stack_of_its_own() {
  constexpr std::size_t kBytes = std::size_t{64} << 10;
  static std::array<std::byte, kBytes> memory;
  stack_t stack{};
  stack.ss_sp = memory.data();
  stack.ss_size = memory.size();
  ::sigaltstack(&stack, nullptr);
}

void handle(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  ::sigaction(signal, &action, nullptr);
}

}  // namespace

const std::atomic<bool>& watch_signals() {
  take_stack_of_its_own();
  handle(SIGINT, on_interrupt);
  handle(SIGTERM, on_interrupt);
  struct sigaction hangup {};
  ::sigaction(SIGHUP, nullptr, &hangup);
  if (hangup.sa_handler != SIG_IGN) handle(SIGHUP, on_hangup);  // nohup has its way
  std::signal(SIGPIPE, SIG_IGN);  // a reader that has gone away costs events, not the video
  return interrupted;
}

}  // namespace wan
