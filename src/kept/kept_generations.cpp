#include "kept/kept_generations.h"

#include "base/error.h"
#include "weights/checkpoint.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

constexpr const char* kEarlier = ".earlier";

}  // namespace

fs::path latents_of_video(const fs::path& video, const fs::path& keep_dir, int number) {
  const fs::path name = keep_dir.empty() ? video : keep_dir / video.filename();
  const std::string mark = number == 1 ? "" : fmt::format(".{}", number);
  return name.string() + mark + ".latents.safetensors";
}

fs::path earlier_generation(const fs::path& newest) {
  return newest.parent_path() / (newest.stem().string() + kEarlier + newest.extension().string());
}

fs::path newest_generation(const fs::path& path) {
  const fs::path stem = path.stem();
  if (stem.extension() != kEarlier) return path;
  return path.parent_path() / (stem.stem().string() + path.extension().string());
}

bool is_kept_by(const GenerationSettings& settings, const fs::path& path) {
  try {
    const Checkpoint file = Checkpoint::open(path);
    GenerationSettings held =
        settings_from_metadata({file.metadata().begin(), file.metadata().end()}, path.string());
    held.fps = settings.fps;
    held.encoding = settings.encoding;
    return to_metadata(held) == to_metadata(settings);
  } catch (const Error&) {
    return false;
  }
}

}  // namespace wan
