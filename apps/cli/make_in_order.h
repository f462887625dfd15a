#pragma once
// Videos one after another: a failure is one request's, and an engine serves as long as requests have its options.

#include <atomic>
#include <functional>
#include <memory>

#include "requests_report.h"

namespace wan {

using EngineMaker = std::function<std::unique_ptr<Engine>(const EngineOptions&)>;

/// An engine, and what it was made for.
struct EngineInUse {
  std::unique_ptr<Engine> engine;
  EngineOptions options = {};  // of a Request
};

/// work(); what it throws, of whatever type, is the request's failure.
void attempt(Request& request, const std::function<void()>& work);

/// A request's options, for an engine that is to serve several (`keep`) or that one alone.
EngineOptions keeping(EngineOptions options, bool keep);

/// Makes those that are to be made; their states and failures say what became of them. `used` is an engine that knows them already
/// (Engine::expect), or none. Ends early where `stopped` is set, and where a device can be used no more.
void make_in_order(std::vector<Request>& requests, RequestsReport& report, const EngineMaker& make_engine,
                   EngineInUse used, const std::atomic<bool>& stopped);

}  // namespace wan
