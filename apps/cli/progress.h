#pragma once
// What a person sees of a run: a bar a phase on a terminal, plain lines elsewhere.

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <utility>

#include "output.h"
#include "wan/events.h"

namespace wan {

/// Whether `stream` is a terminal on which a line can be drawn again: TERM is neither "dumb" nor unset.
bool can_redraw_lines(std::FILE* stream);

/// "4.2 s", "1:05 min", "2:30 h".
std::string duration(double seconds);

class ProgressDisplay {
 public:
  /// `stream` is usually stderr. On a `terminal` the current phase's line is redrawn in place, elsewhere a line is written
  /// every ten seconds.
  ProgressDisplay(std::FILE* stream, bool terminal) : stream_(stream), terminal_(terminal) {}

  void operator()(const Event& event);
  /// Ends a line that is being redrawn, before other output.
  void end_line();

 private:
  using Clock = std::chrono::steady_clock;

  void show(const PhaseStarted& event);
  void show(const PhaseProgress& event);
  void show(const PhaseFinished& event);
  void show(const Notice& event);
  void show(const PromptExtended& event);
  void show(const RunSettings& event);
  void show(const Finished& event);

  template <typename... Args>
  void print(fmt::format_string<Args...> format, Args&&... args) const {
    write_note(stream_, fmt::format(format, std::forward<Args>(args)...));
  }

  std::FILE* stream_;
  bool terminal_;
  bool open_line_ = false;
  Phase phase_ = Phase::kLoad;
  Clock::time_point last_drawn_{};
};

}  // namespace wan
