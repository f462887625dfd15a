#pragma once
// H.264, H.265 or AV1 video in an MP4 file, through FFmpeg's libraries where the build has them.

#include <filesystem>
#include <memory>
#include <optional>

#include "media/frame_sink.h"
#include "media/metadata.h"
#include "media/sound_track.h"
#include "media/video_codec.h"

namespace wan {

/// Throws Unsupported, with the codecs that there are and what to do instead, where this build or its FFmpeg has no encoder
/// for the codec, or none that takes the crf that is asked for; and, where there is a `sound`, no AAC. Opens nothing.
void check_mp4_supported(const VideoEncoding& encoding, const std::optional<SoundTrack>& sound = {});

/// A video of format.fps, yuv420p in limited range, colours as video_color.h says and tagged so, its index at
/// the front of the file. `metadata` is written key by key, with `title` and `comment` added (players and
/// ffprobe show them). With the encoders that video_encoder.cpp lists equal input gives equal bytes. SVT-AV1 writes to standard error
/// unless SVT_LOG=0 is in the environment. Encodes in the caller's thread.
///
/// `sound` is AAC of 192 kbit/s beside it, mono where its file is, otherwise stereo, decoded and encoded as far as the frames
/// have come, so that memory does not grow with its length.
///
/// Throws InvalidArgument for odd sizes, Unsupported as check_mp4_supported(), Io naming the file and the reason, and as
/// read_speech() for what is wrong with the sound.
std::unique_ptr<FrameSink> make_mp4_writer(const std::filesystem::path& path, const VideoFormat& format,
                                           const Metadata& metadata, const VideoEncoding& encoding,
                                           const std::optional<SoundTrack>& sound = {});

}  // namespace wan
