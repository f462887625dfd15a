#include "requests_command.h"

#include <algorithm>
#include <chrono>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/same_file.h"
#include "generate_command.h"
#include "kept/kept_generations.h"
#include "make_in_order.h"
#include "media/output.h"
#include "request_lines.h"
#include "signals.h"
#include "tts_command.h"

namespace wan {

namespace {

namespace fs = std::filesystem;
using State = Request::State;

/// `path`, or with a number before its extension where that is taken: requests of one second may have one prompt.
fs::path free_name(const fs::path& path, std::set<fs::path>& taken) {
  fs::path name = path;
  for (int number = 2; taken.contains(name) || file_exists(name); ++number)
    name =
        path.parent_path() / fmt::format("{}_{}{}", path.stem().string(), number, path.extension().string());
  taken.insert(name);
  return name;
}

std::vector<Request> read_requests(const GenerateOptions& defaults) {
  std::vector<Request> requests;
  std::set<fs::path> taken;
  for (const RequestLine& line : read_request_lines(defaults.requests)) {
    Request& request = requests.emplace_back(Request{.line = line.number});
    attempt(request, [&] {
      const GenerateOptions options = options_of_line(defaults, line.text);
      WAN_CHECK_FIELD(options.video.empty(), kUnsupported, "video",
                      "--video is preprocessed for one video at a time: run wan preprocess first, and name "
                      "its folder with "
                      "--src_root_path");
      request.request = make_request(options, request.notices);
      request.engine = make_engine_options(options);
      if (request.request.save_file.empty()) {
        const fs::path name = unnamed_output(options, request.request);
        request.request.save_file = options.from_latents.empty() ? free_name(name, taken) : name;
      }
      if (make_extender(options, request.request, request.notices)) request.extension = options.extension;
      speak_where_asked(options, request.request, request.notices);
    });
  }
  return requests;
}

std::vector<NamedFile> of_line(int line, std::vector<NamedFile> files) {
  std::erase_if(files, [](const NamedFile& file) { return file.path.empty(); });
  for (NamedFile& file : files) file.name.text = fmt::format("line {}'s {}", line, file.name.text);
  return files;
}

std::vector<NamedFile> written_files(const Request& request) {
  const GenerationRequest& r = request.request;
  const int frames = r.frame_num.value_or(load_model_defaults(r.task, request.engine.ckpt_dir).frame_num);
  std::vector<NamedFile> files;
  for (const fs::path& file : output_files(r.save_file, frames)) files.push_back({"--save_file", file});
  files.push_back({"--save_latents", r.save_latents});
  const fs::path latents = latents_of_video(r.save_file, r.keep_dir);
  if (r.save_latents.empty()) files.push_back({"latents' file", latents});
  files.push_back({"latents' file", earlier_generation(latents)});
  files.push_back({"--dump", r.dump_dir});
  return of_line(request.line, std::move(files));
}

std::vector<NamedFile> read_files(const Request& request) {
  const GenerationRequest& r = request.request;
  return of_line(request.line, {{"--image", r.image},
                                {"--last_image", r.last_image},
                                {"--audio", r.speech.audio},
                                {"--pose_video", r.speech.pose_video},
                                {"--src_root_path", r.animation.src_root_path},
                                {"--from_latents", r.from_latents}});
}

void check_apart(std::vector<Request>& requests) {
  FileUses uses;
  for (Request& request : requests)
    if (request.state == State::kToMake)
      attempt(request, [&] { uses.add(written_files(request), read_files(request)); });
}

std::vector<Request*> waiting_with(std::vector<Request>& requests, const EngineOptions& options) {
  std::vector<Request*> result;
  for (Request& request : requests)
    if (request.state == State::kToMake && request.engine == options) result.push_back(&request);
  return result;
}

/// The checkpoints, devices and such of what is to be made, in the order in which they are first needed.
std::vector<EngineOptions> different_engines(const std::vector<Request>& requests) {
  std::vector<EngineOptions> result;
  for (const Request& request : requests)
    if (request.state == State::kToMake &&
        std::find(result.begin(), result.end(), request.engine) == result.end())
      result.push_back(request.engine);
  return result;
}

/// What each engine refuses, and with `plan` the plans of the others. Leaves the engine that is needed first, or none where it cannot
/// be made.
EngineInUse check_with_engines(std::vector<Request>& requests, const EngineMaker& make_engine, bool plan) {
  EngineInUse used;
  std::vector<EngineOptions> engines = different_engines(requests);
  std::reverse(engines.begin(), engines.end());
  for (const EngineOptions& options : engines) {
    const std::vector<Request*> waiting = waiting_with(requests, options);
    used = {};
    for (Request* request : waiting)
      attempt(*request, [&] {
        if (!used.engine) used = {make_engine(keeping(options, waiting.size() > 1)), options};
        used.engine->expect(request->request);
      });
    for (Request* request : waiting)  // once all are known
      if (plan && request->state == State::kToMake)
        attempt(*request, [&] { request->plan = used.engine->plan(request->request); });
  }
  return used;
}

/// All prompts that are to be extended, before the first video's weights: a language model is loaded once for those that want the same.
void extend_prompts(std::vector<Request>& requests, RequestsReport& report,
                    const std::atomic<bool>& stopped) {
  std::optional<PromptExtender> extender;
  const Request* before = nullptr;
  for (Request& request : requests) {
    if (request.state != State::kToMake || !request.extension) continue;
    if (stopped.load()) return;
    if (before == nullptr || before->extension != request.extension || before->engine != request.engine) {
      extender.reset();  // before the next one needs its memory
      extender.emplace(*request.extension, request.engine);
    }
    before = &request;
    attempt(request, [&] {
      request.request.prompt =
          extender
              ->extend(
                  request.request, [&](const Event& event) { report.tell_event(event); }, &stopped)
              .prompt;
    });
    if (!request.failure) continue;
    if (request.failure->code() == ErrorCode::kCancelled) {
      request.state = State::kStopped;
      return;
    }
    report.tell_failure(request);
  }
}

[[noreturn]] void fail_with_first(const std::vector<Request>& requests, const RequestsReport& report) {
  const auto stopped = std::find_if(requests.begin(), requests.end(),
                                    [](const Request& r) { return r.state == State::kStopped; });
  if (stopped != requests.end())
    fail(stopped->failure->code(), "{}: {}", report.place({stopped->line}), stopped->reason());
  const auto failed = [](const Request& r) { return r.state == State::kFailed; };
  const auto first = std::find_if(requests.begin(), requests.end(), failed);
  const auto count = std::count_if(requests.begin(), requests.end(), failed);
  fail(first->failure->code(), "{} of {} requests failed, the first at {}", count, requests.size(),
       report.place({first->line}));
}

}  // namespace

void make_requests(const GenerateOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const EngineMaker make_engine = [](const EngineOptions& with) { return std::make_unique<Engine>(with); };
  RequestsReport report(requests_name(options.requests), options.json);
  std::vector<Request> requests = read_requests(options);
  EngineInUse used = check_with_engines(requests, make_engine, options.plan);
  check_apart(requests);
  report.tell_refused(requests);
  const auto all = [&](State state) {
    return std::all_of(requests.begin(), requests.end(), [&](const Request& r) { return r.state == state; });
  };
  if (options.plan) {
    for (const Request& request : requests)
      if (request.state == State::kToMake) report.tell_plan(request);
    if (!all(State::kToMake)) fail_with_first(requests, report);
    return;
  }
  const std::atomic<bool>& stopped = watch_signals();
  extend_prompts(requests, report, stopped);
  make_in_order(requests, report, make_engine, std::move(used), stopped);
  report.tell_end(requests, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  if (all(State::kMade)) return;
  const bool failed =
      std::any_of(requests.begin(), requests.end(), [](const Request& r) { return r.failure.has_value(); });
  WAN_CHECK(failed, kCancelled, "stopped on request between two requests");
  fail_with_first(requests, report);
}

}  // namespace wan
