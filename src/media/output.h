#pragma once
// From the name that a user gives (GenerationRequest::save_file) to the sink that writes it.

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "media/frame_sink.h"
#include "media/metadata.h"
#include "media/sound_track.h"
#include "media/video_codec.h"

namespace wan {

enum class OutputKind {
  kMp4,          // name.mp4
  kPngStill,     // name.png, one frame
  kPngSequence,  // name_%05d.png
};

/// What `path` asks for, by its extension (case does not matter). Throws InvalidArgument for other
/// extensions, for a still of more than one frame, and for a malformed pattern.
OutputKind classify_output(const std::filesystem::path& path, int frame_count);

/// The files that `path` stands for: itself, or one a frame. Throws as classify_output.
std::vector<std::filesystem::path> output_files(const std::filesystem::path& path, int frame_count);

/// The check before anything is loaded, a few system calls: classify_output, a folder that exists and can be written,
/// nothing there that is no regular file, and a build that can encode the format (`encoding` and `sound` of an .mp4; frames in
/// PNG have neither). Leaves nothing behind. Throws InvalidArgument or
/// Unsupported.
void check_output_writable(const std::filesystem::path& path, int frame_count,
                           const VideoEncoding& encoding = {}, const std::optional<SoundTrack>& sound = {});

/// The sink for `path`: videos and sequences encode on a thread of their own. It expects exactly
/// format.frame_count frames; another number at finish() is an Internal error and leaves nothing. Throws
/// InvalidArgument for a format that the file cannot hold (MP4: odd sizes), Io when the file cannot be
/// created, and as make_mp4_writer() for `sound`, which an .mp4 alone gets.
std::unique_ptr<FrameSink> make_frame_sink(const std::filesystem::path& path, const VideoFormat& format,
                                           const Metadata& metadata, const VideoEncoding& encoding = {},
                                           const std::optional<SoundTrack>& sound = {});

}  // namespace wan
