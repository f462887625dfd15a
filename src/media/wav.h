#pragma once
// WAV files in memory, for builds without FFmpeg's libraries.

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "media/sound_source.h"

namespace wan {

/// Whether the file says that it is one.
bool is_wav(std::span<const std::byte> file);

/// Integers of 8, 16, 24 or 32 bits or floats of 32 or 64, also as WAVE_FORMAT_EXTENSIBLE says them. A file that ends before
/// its samples do gives those that there are. `file` outlives the source; messages call it `name`. Throws BadFile, Unsupported
/// for other codings.
std::unique_ptr<SoundSource> open_wav(std::span<const std::byte> file, std::string name);

}  // namespace wan
