#pragma once
// Finding the person of a frame: what the detector is given, and what its answer says.

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "media/image.h"

namespace wan {

/// In pixels of the frame.
struct PersonBox {
  double left = 0;
  double top = 0;
  double right = 0;
  double bottom = 0;
  double score = -1;  // 0 to 1; below 0: nobody was found, and this is the whole frame

  double width() const { return right - left; }
  double height() const { return bottom - top; }
};

/// A detector's answer, [rows, columns] row by row.
struct Detections {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<float> values;
};

/// The frame stretched to `width` x `height`, as [3, height, width] of RGB in [0, 1].
std::vector<float> detector_input(const Image& frame, int width, int height);

/// The person that a YOLO network shows in a frame of `frame_width` x `frame_height`, from an input of `width` x `height`. Rows of six are left, top, right, bottom, score
/// and class (YOLOv10); otherwise each *column* is a box (centre, sizes) and a score for each class (YOLOv8: [84, 8400]). Of boxes of any class that overlap by
/// more than half the best remains; of people (class 0) the largest, if it is not much shorter than the longest. The official
/// thresholds: score 0.05, overlap 0.5, length 0.4. Nothing where there is no person. Throws BadFile for another shape.
std::optional<PersonBox> find_person(const Detections& detections, int width, int height, int frame_width,
                                     int frame_height);

}  // namespace wan
