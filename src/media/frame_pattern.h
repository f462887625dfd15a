#pragma once
// File names with a frame number: "frames/run_%05d.png".

#include <filesystem>
#include <string>

namespace wan {

class FramePattern {
 public:
  /// True when the file name (not the folder) of `path` holds a '%'.
  static bool is_pattern(const std::filesystem::path& path);

  /// Throws InvalidArgument unless the file name holds exactly one %d or %0Nd (N = 1 to 9). "%%" stands for
  /// a percent sign; folders are taken as they are.
  explicit FramePattern(const std::filesystem::path& path);

  /// The name of frame `number`, counted from 0.
  std::filesystem::path name(int number) const;

 private:
  std::filesystem::path folder_;
  std::string before_;
  std::string after_;
  int digits_ = 0;
};

}  // namespace wan
