#include "make_in_order.h"

#include <fmt/ranges.h>

#include "base/error.h"
#include "kept/recovery.h"

namespace wan {

namespace {

using State = Request::State;

/// Options in which they differ, for a message.
std::string differences(const EngineOptions& a, const EngineOptions& b) {
  std::vector<const char*> names;
  const auto add = [&](bool different, const char* name) {
    if (different) names.push_back(name);
  };
  add(a.ckpt_dir != b.ckpt_dir, "--ckpt_dir");
  add(a.parts.high_noise != b.parts.high_noise, "--high_noise");
  add(a.parts.low_noise != b.parts.low_noise, "--low_noise");
  add(a.parts.transformer != b.parts.transformer, "--transformer");
  add(a.parts.text_encoder != b.parts.text_encoder, "--text_encoder");
  add(a.parts.vae != b.parts.vae, "--vae");
  add(a.parts.tokenizer != b.parts.tokenizer, "--tokenizer");
  add(a.lora != b.lora, "--lora");
  add(a.lora_allow_unmatched != b.lora_allow_unmatched, "--lora_allow_unmatched");
  add(a.device != b.device, "--device");
  add(a.gpus != b.gpus, "--gpus");
  add(a.ulysses_size != b.ulysses_size, "--ulysses_size");
  add(a.guidance_parallel != b.guidance_parallel, "--guidance_parallel");
  add(a.rank_timeout != b.rank_timeout, "--rank_timeout");
  add(a.p2p != b.p2p, "--p2p");
  add(a.dit_fsdp != b.dit_fsdp, "--dit_fsdp");
  add(a.t5_fsdp != b.t5_fsdp, "--t5_fsdp");
  add(a.precision != b.precision, "--precision");
  add(a.vae_precision != b.vae_precision, "--vae_precision");
  add(a.residency != b.residency, "--residency");
  add(a.offload_model != b.offload_model, "--offload_model");
  add(a.t5_cpu != b.t5_cpu, "--t5_cpu");
  add(a.memory_limit != b.memory_limit, "--memory_limit");
  add(a.threads != b.threads, "--threads");
  return fmt::format("{}", fmt::join(names, ", "));
}

/// Whether the device answers after one of its failures: CUDA's errors of one kind last until the process ends.
bool is_lost(const Request& request, const Engine& engine) {
  try {
    static_cast<void>(engine.plan(request.request));
    return false;
  } catch (const Error& error) {
    return error.code() == ErrorCode::kDevice;
  }
}

/// An engine for requests[first] and those behind it that have its options.
std::unique_ptr<Engine> engine_for(const std::vector<Request>& requests, std::size_t first,
                                   const EngineMaker& make_engine) {
  std::vector<const Request*> served;
  for (std::size_t i = first; i < requests.size(); ++i) {
    if (requests[i].state != State::kToMake) continue;
    if (requests[i].engine != requests[first].engine) break;
    served.push_back(&requests[i]);
  }
  std::unique_ptr<Engine> engine = make_engine(keeping(requests[first].engine, served.size() > 1));
  if (served.size() == 1) return engine;
  for (const Request* request : served) {
    try {
      engine->expect(request->request);
    } catch (const Error&) {  // told when its turn comes
      continue;
    }
  }
  return engine;
}

}  // namespace

void attempt(Request& request, const std::function<void()>& work) {
  try {
    work();
  } catch (...) {
    request.fail(current_failure());
  }
}

EngineOptions keeping(EngineOptions options, bool keep) {
  options.keep_models = keep;
  return options;
}

void make_in_order(std::vector<Request>& requests, RequestsReport& report, const EngineMaker& make_engine,
                   EngineInUse used, const std::atomic<bool>& stopped) {
  std::unique_ptr<Engine>& engine = used.engine;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    Request& request = requests[i];
    if (request.state != State::kToMake) continue;
    if (stopped.load()) return;
    report.tell_start(request, i + 1, requests.size());
    attempt(request, [&] {
      if (!engine || used.options != request.engine) {
        if (engine)
          report.tell_note("another " + differences(used.options, request.engine) +
                           " than before: everything is loaded anew");
        engine.reset();  // before the next one needs its memory
        engine = engine_for(requests, i, make_engine);
        used.options = request.engine;
      }
      for (const std::string& notice : request.notices) report.tell_note(notice);
      engine->generate(
          request.request, [&](const Event& event) { report.tell_event(event); }, &stopped);
      request.state = State::kMade;
    });
    if (!request.failure) continue;
    if (request.failure->code() == ErrorCode::kCancelled) {
      request.state = State::kStopped;
      return;
    }
    report.tell_failure(request);
    if (request.failure->code() == ErrorCode::kDevice && (!engine || is_lost(request, *engine))) {
      report.tell_note(
          "the device can be used no more by this process, and what follows is not begun; start the "
          "program again with the lines that are left");
      return;
    }
  }
}

}  // namespace wan
