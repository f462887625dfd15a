#pragma once
// What a process that is not the first one does: its share of the engines that the first one makes.

#include <memory>

#include "engine/letters.h"
#include "engine/process_link.h"
#include "wan/engine.h"

namespace wan {

/// Where this process is the first of several, the link of an engine that the others begin as well; otherwise nullptr.
std::unique_ptr<ProcessLink> begin_share(const EngineOptions& options);

/// An engine's ranks in this process, for requests of the first one.
class EngineShare {
 public:
  EngineShare(const EngineOptions& options, std::unique_ptr<ProcessLink> link);
  ~EngineShare();
  EngineShare(const EngineShare&) = delete;
  EngineShare& operator=(const EngineShare&) = delete;

  /// The ranks' part of a video.
  void generate(const SharedRequest& request);

 private:
  std::unique_ptr<Engine::Impl> impl_;
};

}  // namespace wan
