#pragma once
// Retargeting: the movements of the video's person with the bones of the picture's.

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "preprocess/pose.h"
#include "preprocess/skeleton.h"

namespace wan {

/// Poses of pictures of both in which bones are seen at full length; where they are given, bones are measured there.
struct EditedPoses {
  Pose video;
  Pose picture;
};

class Retargeting {
 public:
  /// `video` is the pose of the video's first frame, `picture` that of the character in the size that the video is to have.
  /// Notices are about bones that cannot be measured. Throws BadFile where
  /// both bodies are seen and one has no height.
  Retargeting(const Pose& video, const Pose& picture, const std::optional<EditedPoses>& edited,
              std::vector<std::string>& notices);

  /// A frame's pose, in pixels of the picture's size.
  Skeleton apply(const Pose& pose) const;

 private:
  enum class Seen { kUpperBody, kHips, kWholeBody };
  struct Body;

  static Seen seen_of(const Body& body);
  static double height_ratio(const Body& video, const Body& picture);
  static std::array<double, 19> lengths_of(const Body& body);
  static void lengthen(Body& body, const std::array<double, 19>& ratios, bool limits_feet);
  void share_ratios();

  int width_, height_;               // of the picture
  double scale_ = 1;                 // the video's person beside the picture's
  std::array<double, 19> ratios_{};  // of each bone of kBones: the picture's length by the video's
  double shift_x_ = 0, shift_y_ = 0;
};

}  // namespace wan
