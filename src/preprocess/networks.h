#pragma once
// What preprocessing asks of its three networks.

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "preprocess/detection.h"
#include "preprocess/mask.h"

namespace wan {

class PersonDetector {
 public:
  virtual ~PersonDetector() = default;
  /// Of its input.
  virtual int width() const = 0;
  virtual int height() const = 0;
  /// The answer to detector_input().
  virtual Detections detect(std::span<const float> input) = 0;
};

/// [points, height, width]
struct Heatmaps {
  int points = 0;
  int width = 0;
  int height = 0;
  std::vector<float> values;
};

class KeypointEstimator {
 public:
  virtual ~KeypointEstimator() = default;
  virtual int width() const = 0;
  virtual int height() const = 0;
  /// The answer to pose_input().
  virtual Heatmaps estimate(std::span<const float> input) = 0;
};

class PersonSegmenter {
 public:
  using PointsOfFrame = std::function<std::vector<MaskPoint>(std::int64_t frame)>;
  using FrameReader = std::function<Image(std::int64_t frame)>;
  /// [height, width] of the frame, 1 where the person is; valid during the call.
  using MaskSink = std::function<void(std::int64_t frame, std::span<const std::uint8_t> mask)>;

  virtual ~PersonSegmenter() = default;
  /// The most frames that are segmented together.
  virtual std::int64_t chunk_frames() const = 0;
  /// A chunk: reads frames in any order, asks for the points of its key frames, tells masks in order.
  virtual void segment(std::int64_t frames, const PointsOfFrame& points_of, const FrameReader& read,
                       const MaskSink& write) = 0;
};

struct Networks {
  PersonDetector& detector;
  KeypointEstimator& estimator;
  PersonSegmenter* segmenter;  // to replace
};

}  // namespace wan
