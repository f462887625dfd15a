#pragma once
// VideoSegmenter: SAM 2 as the official preprocessing of character replacement uses it: one object that points on key frames name, and
// its mask in every frame.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "media/image.h"
#include "models/sam2/config.h"
#include "ops/exec_context.h"
#include "weights/weight_scope.h"

namespace wan::sam2 {

/// A positive click, in pixels of the video; may lie outside of it.
struct Point {
  float x;
  float y;
};

/// A frame whose object is named by points, one or more.
struct KeyFrame {
  std::int64_t frame;
  std::vector<Point> points;
};

/// Frame `frame` of the video. All of a run have one size.
using FrameReader = std::function<Image(std::int64_t frame)>;
/// Frame `frame`'s mask, [height, width] of the video, 1 where the object is and 0 elsewhere; valid during the call.
using MaskSink = std::function<void(std::int64_t frame, std::span<const std::uint8_t> mask)>;
using PointsOfFrame = std::function<std::vector<Point>(std::int64_t frame)>;

/// The official key frames of a chunk of so many frames (Settings::chunk_frames or fewer): 0, s, 2s, .. with s a quarter of them, rounded down (so that there may be more
/// than four); frame 0 alone up to four frames.
std::vector<std::int64_t> key_frames_of(std::int64_t frames);

class VideoSegmenter {
 public:
  /// `top` is the whole checkpoint's scope, sam2_hiera_large.pt's; its target is the device on which ctx computes later, and its precision that of
  /// products (f32 officially). Findings go to its report, which the caller checks. `config` is read_config()'s of the same scope.
  VideoSegmenter(const WeightScope& top, const Config& config);
  ~VideoSegmenter();
  VideoSegmenter(VideoSegmenter&&) noexcept;

  const Config& config() const;

  /// One chunk of `frames` frames. `keys` are sorted, the first is frame 0. Frames are read one at a time, each once: the key frames first, then
  /// the others in order, up to two before the mask that is told next; masks are told in order. Memory does not grow with the number of frames but with that of key frames. Throws
  /// InvalidArgument for other key frames, what `read` and `write` throw, and Cancelled.
  void segment_chunk(ExecContext& ctx, std::int64_t frames, std::span<const KeyFrame> keys,
                     const FrameReader& read, const MaskSink& write) const;

  /// A whole video in the official chunks and with the official key frames, whose points `points_of` tells.
  void segment(ExecContext& ctx, std::int64_t frames, const PointsOfFrame& points_of, const FrameReader& read,
               const MaskSink& write) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace wan::sam2
