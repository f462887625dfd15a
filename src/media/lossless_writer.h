#pragma once
// Videos without loss, for a program's own use: what open_video() and open_sound() read is what was written.

#include <filesystem>
#include <memory>
#include <optional>

#include "media/frame_sink.h"
#include "media/sound_track.h"

namespace wan {

/// A Matroska file of FFV1, and of the sound's samples as floats beside it, no longer than the video. Encodes on a
/// thread of its own; an error of make_frame_sink()'s kind where another number of
/// frames than format.frame_count is written. Throws InvalidArgument for sizes above 16384, Unsupported without FFmpeg or its FFV1, Io, and as
/// open_sound().
std::unique_ptr<FrameSink> make_lossless_writer(const std::filesystem::path& path, const VideoFormat& format,
                                                const std::optional<SoundTrack>& sound = {});

}  // namespace wan
