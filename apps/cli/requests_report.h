#pragma once
// What a person or a program is told of many requests: text on standard error, or events on standard output.

#include <optional>
#include <string>
#include <vector>

#include "option_names.h"
#include "progress.h"
#include "wan/engine.h"
#include "wan/extension.h"

namespace wan {

/// A line of the file on its way to a video.
struct Request {
  enum class State { kToMake, kMade, kFailed, kStopped };

  int line;  // in the file, from 1
  State state = State::kToMake;
  EngineOptions engine = {};  // without keep_models, which follows from its neighbours
  GenerationRequest request = {};
  std::optional<PromptExtension> extension = {};  // how its prompt is extended first
  std::vector<std::string> notices = {};
  std::optional<MemoryPlan> plan = {};  // where it was asked for
  std::optional<Error> failure = {};    // of kFailed and kStopped

  void fail(const Error& error) {
    state = State::kFailed;
    failure = error;
  }
  /// The failure, for people.
  std::string reason() const { return with_options(failure->what()); }
};

/// "7, 9-12" of ascending numbers.
std::string line_ranges(const std::vector<int>& lines);

class RequestsReport {
 public:
  /// `name` is the file's, for people.
  RequestsReport(std::string name, bool json)
      : name_(std::move(name)), json_(json), display_(stderr, can_redraw_lines(stderr)) {}

  /// Before the first is made: those that cannot be.
  void tell_refused(const std::vector<Request>& requests);
  void tell_start(const Request& request, std::size_t number, std::size_t count);
  void tell_event(const Event& event);
  /// The failure of the request that was told last to start.
  void tell_failure(const Request& request);
  void tell_plan(const Request& request);
  /// As a Notice has it: base/error.h.
  void tell_note(const std::string& message) { tell_event(Notice{message}); }
  /// What became of all.
  void tell_end(const std::vector<Request>& requests, double seconds);

  /// "requests.jsonl:7", or with several lines "requests.jsonl:7, 9-12".
  std::string place(const std::vector<int>& lines) const;

 private:
  /// Failures of requests in state kFailed; one message for all where a mistake on the command line is every line's.
  void tell_failures(const std::vector<Request>& requests, const char* before);

  std::string name_;
  bool json_;
  ProgressDisplay display_;
};

}  // namespace wan
