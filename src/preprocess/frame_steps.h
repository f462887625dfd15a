#pragma once
// What preprocessing does with the frames of a video, from where they come to where they go.

#include <atomic>

#include "preprocess/frame_source.h"
#include "preprocess/networks.h"
#include "preprocess/source_writer.h"
#include "wan/events.h"
#include "wan/preprocess.h"

namespace wan {

struct FrameSteps {
  /// Of its files the edited pictures are read; save_path has the frames of a chunk, to replace.
  const PreprocessOptions& options;
  const Networks& networks;
  FrameSource& frames;
  SourceSinks sinks;
  const EventHandler& on_event;
  const std::atomic<bool>* cancelled;
};

/// Takes all frames of steps.frames, tells progress, and counts in `result`, whose size and frames are known. `picture` is the character's. While the networks look at a frame the next one
/// is made ready, and the one before is drawn and written, on threads of their own; memory is that of a few frames. Throws as preprocess().
void run_frame_steps(const FrameSteps& steps, const Image& picture, PreprocessResult& result);

/// What `result` counts, to `on_event`.
void tell_what_was_missing(const PreprocessResult& result, const EventHandler& on_event);

}  // namespace wan
