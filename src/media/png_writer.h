#pragma once
// PNG files as frame sinks: one still, or a numbered file a frame.

#include <filesystem>
#include <memory>

#include "media/frame_pattern.h"
#include "media/frame_sink.h"
#include "media/metadata.h"

namespace wan {

/// One image; a second frame is an Internal error. `metadata` goes into iTXt chunks, with Title and Comment.
std::unique_ptr<FrameSink> make_png_still(const std::filesystem::path& path, const VideoFormat& format,
                                          const Metadata& metadata);

/// Frame n goes to pattern.name(n), n from 0, each with all of `metadata`. Some frames are encoded at the same time, each on a thread
/// of its own. The files appear together in
/// finish(); when one cannot be put in its place, those of this run are removed again.
std::unique_ptr<FrameSink> make_png_sequence(const FramePattern& pattern, const VideoFormat& format,
                                             const Metadata& metadata);

}  // namespace wan
