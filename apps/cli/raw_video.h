#pragma once
// An animation straight from a video and a picture: preprocessing before generation, without lossy files between.

#include <atomic>
#include <filesystem>

#include "generate_options.h"

namespace wan {

class RawVideo {
 public:
  /// Checks all that can be told before anything is loaded, for the request whose file is `save_file`. Throws as check_preprocess(), and InvalidArgument for options that do
  /// not go together.
  RawVideo(const GenerateOptions& options, const std::filesystem::path& save_file);

  /// Writes a folder beside the video, "video.mp4.source", with faces of the engine's size, and names it in the request. Throws as preprocess(), and leaves nothing then.
  void preprocess_for(GenerationRequest& request, const Engine& engine, const EventHandler& on_event,
                      const std::atomic<bool>* cancelled);

  const std::filesystem::path& folder() const { return preprocess_.save_path; }
  /// Removes the folder where preprocess_for() has made it, in this run or one before, and nothing else.
  static void remove(const std::filesystem::path& folder);

 private:
  PreprocessOptions preprocess_;
};

}  // namespace wan
