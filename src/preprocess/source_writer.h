#pragma once
// SourceWriter: the folder that preprocessing leaves for an animation.

#include <filesystem>
#include <memory>
#include <vector>

#include "media/frame_sink.h"
#include "media/image.h"
#include "wan/preprocess.h"

namespace wan {

/// Where frames go: all of one size but the faces.
struct SourceSinks {
  FrameSink& pose;
  FrameSink& face;
  FrameSink* background;  // to replace
  FrameSink* mask;        // to replace
};

class SourceWriter {
 public:
  /// Makes save_path where there is none and begins all files: src_pose with the sound of the video where that has one, src_face, to replace src_bg and src_mask. Throws Io and
  /// Unsupported.
  SourceWriter(const PreprocessOptions& options, const VideoSize& size, double fps, std::int64_t frames);

  SourceSinks sinks() const { return {*pose_, *face_, background_.get(), mask_.get()}; }

  /// Completes all files, and the picture's bytes as src_ref.png. What an earlier run has left in the other format is removed.
  void finish();

 private:
  std::unique_ptr<FrameSink> make_sink(const char* name, const VideoFormat& format, bool with_sound);

  PreprocessOptions options_;
  std::unique_ptr<FrameSink> pose_, face_, background_, mask_;
};

}  // namespace wan
