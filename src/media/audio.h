#pragma once
// Sound in: the speech of a file as the audio encoder takes it.

#include <filesystem>
#include <optional>
#include <vector>

namespace wan {

/// Samples a second of read_speech().
inline constexpr int kSpeechRate = 16'000;

/// The first sound stream of the file at `path`, from `start` seconds on, `duration` of them or to its end: the mean of its
/// channels in [-1, 1], resampled to kSpeechRate as librosa.load(sr=16000) does (libsoxr's "HQ"; ceil(n * 16000 / rate) samples
/// of n). Start and duration are cut to whole samples of the file; a part that reaches beyond the end stops there. Where the
/// build has FFmpeg, whatever its libraries decode: sound files, with a cover picture or without, and videos; otherwise WAV of
/// 8 to 32 bits or floats. Frames that cannot be decoded are left out, as players do. Memory is that of the result.
///
/// Throws BadFile where the file is missing, empty, damaged or has no sound, InvalidArgument for a start or duration that is
/// negative, not finite, or leaves nothing of the sound, Unsupported for a format that this build does not read.
std::vector<float> read_speech(const std::filesystem::path& path, double start = 0,
                               std::optional<double> duration = {});

}  // namespace wan
