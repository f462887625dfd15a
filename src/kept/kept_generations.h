#pragma once
// Two generations of a run's state on disk: the newest whole file under the name that people are told, and beside it the one before,
// should the newest be damaged (the machine went down, the disk failed).

#include <filesystem>

#include "settings/settings.h"

namespace wan {

/// What latents of a video are called unless the user says: "video.mp4.latents.safetensors", beside it, or in `keep_dir` where that is
/// not empty; of a later `number`, where earlier ones are taken, "video.mp4.2.latents.safetensors".
std::filesystem::path latents_of_video(const std::filesystem::path& video,
                                       const std::filesystem::path& keep_dir, int number = 1);

/// "video.mp4.latents.earlier.safetensors" of "video.mp4.latents.safetensors".
std::filesystem::path earlier_generation(const std::filesystem::path& newest);

/// The name of the newest one of a name that earlier_generation() gave; any other name as it is.
std::filesystem::path newest_generation(const std::filesystem::path& path);

/// Whether the file holds latents of a run with these settings; those of the video's file alone may differ.
bool is_kept_by(const GenerationSettings& settings, const std::filesystem::path& path);

}  // namespace wan
