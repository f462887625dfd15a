#include "requests_report.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/untrusted_text.h"
#include "json/json_text.h"
#include "output.h"

namespace wan {

namespace {

using Json = nlohmann::ordered_json;

void write_event(const Json& event) {
  write_json(json_text(event));
}

Json failure_of(const Request& request) {
  Json event = {{"line", request.line}, {"code", error_code_name(request.failure->code())}};
  if (!request.failure->field().empty()) event["option"] = option_name(request.failure->field());
  event["message"] = request.reason();
  return event;
}

std::vector<int> lines_of(const std::vector<Request>& requests, Request::State state) {
  std::vector<int> lines;
  for (const Request& request : requests)
    if (request.state == state) lines.push_back(request.line);
  return lines;
}

}  // namespace

std::string line_ranges(const std::vector<int>& lines) {
  std::vector<std::string> ranges;
  for (std::size_t begin = 0; begin < lines.size();) {
    std::size_t end = begin + 1;
    while (end < lines.size() && lines[end] == lines[end - 1] + 1) ++end;
    const int first = lines[begin];
    const int last = lines[end - 1];
    ranges.push_back(first == last ? std::to_string(first) : fmt::format("{}-{}", first, last));
    begin = end;
  }
  return fmt::format("{}", fmt::join(ranges, ", "));
}

std::string RequestsReport::place(const std::vector<int>& lines) const {
  return fmt::format("{}:{}", name_, line_ranges(lines));
}

void RequestsReport::tell_failures(const std::vector<Request>& requests, const char* before) {
  std::vector<std::pair<std::string, std::vector<int>>> told;
  for (const Request& request : requests) {
    if (request.state != Request::State::kFailed) continue;
    const std::string message = request.reason();
    const auto same =
        std::find_if(told.begin(), told.end(), [&](const auto& other) { return other.first == message; });
    if (same == told.end()) {
      told.push_back({message, {request.line}});
    } else {
      same->second.push_back(request.line);
    }
  }
  for (const auto& [message, lines] : told)
    write_note(stderr, fmt::format("{}{}: {}\n", before, shown(place(lines)), shown_message(message)));
}

void RequestsReport::tell_refused(const std::vector<Request>& requests) {
  if (!json_) return tell_failures(requests, "error: ");
  for (const Request& request : requests)
    if (request.failure) tell_failure(request);
}

void RequestsReport::tell_start(const Request& request, std::size_t number, std::size_t count) {
  const std::string file = request.request.save_file.string();
  if (json_)
    return write_event({{"event", "request_started"},
                        {"line", request.line},
                        {"number", number},
                        {"count", count},
                        {"prompt", request.request.prompt},
                        {"save_file", file}});
  display_.end_line();
  write_note(stderr, fmt::format("[{}/{}] {}: {} -> {}\n", number, count, shown(place({request.line})),
                                 shortened(request.request.prompt), shown(file)));
}

void RequestsReport::tell_event(const Event& event) {
  if (json_) {
    write_json(to_json(event));
  } else {
    display_(event);
  }
}

void RequestsReport::tell_failure(const Request& request) {
  if (json_) {
    Json event = {{"event", "request_failed"}};
    event.update(failure_of(request));
    return write_event(event);
  }
  display_.end_line();
  write_note(stderr,
             fmt::format("{}: {}: {}\n", request.state == Request::State::kStopped ? "stopped" : "error",
                         shown(place({request.line})), shown_message(request.reason())));
}

void RequestsReport::tell_plan(const Request& request) {
  if (json_) {
    std::string object = to_json(*request.plan);  // with one member more
    object.insert(object.size() - 1, fmt::format(",\"line\":{}", request.line));
    return write_json(object);
  }
  write_output(fmt::format("{}: {}\n{}\n", shown(place({request.line})), shortened(request.request.prompt),
                           to_string(*request.plan)));
}

void RequestsReport::tell_end(const std::vector<Request>& requests, double seconds) {
  using State = Request::State;
  const std::vector<int> made = lines_of(requests, State::kMade);
  const std::vector<int> not_begun = lines_of(requests, State::kToMake);
  if (json_) {
    Json failed = Json::array();
    for (const Request& request : requests)
      if (request.failure) failed.push_back(failure_of(request));
    return write_event({{"event", "summary"},
                        {"requests", requests.size()},
                        {"made", made},
                        {"failed", failed},
                        {"not_begun", not_begun},
                        {"seconds", seconds}});
  }
  display_.end_line();
  write_note(stderr,
             fmt::format("made {} of {} videos in {}\n", made.size(), requests.size(), duration(seconds)));
  tell_failures(requests, "not made: ");
  if (!not_begun.empty()) write_note(stderr, fmt::format("not begun: {}\n", shown(place(not_begun))));
}

}  // namespace wan
