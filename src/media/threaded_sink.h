#pragma once
// Gives a sink a thread of its own, so that encoding overlaps with computing the next frames.

#include <cstddef>
#include <memory>

#include "media/frame_sink.h"

namespace wan {

/// Frames go to `inner` through a queue of at most `queue_frames` copies of `frame_bytes` bytes each; write()
/// waits while it is full. An exception of `inner` is thrown by the next write() or by finish(). Destroyed
/// without finish(), it drops the frames that wait.
std::unique_ptr<FrameSink> make_threaded_sink(std::unique_ptr<FrameSink> inner, std::size_t frame_bytes,
                                              std::size_t queue_frames);

}  // namespace wan
