#pragma once
// Videos in: the frames of a file, one after another, through FFmpeg's libraries where the build has them.

#include <filesystem>
#include <memory>
#include <optional>

#include "media/image.h"

namespace wan {

struct VideoFrame {
  Image image;
  double seconds = 0;  // since the first frame
};

class VideoReader {
 public:
  virtual ~VideoReader() = default;

  /// Of the frames that next() gives.
  virtual int width() const = 0;
  virtual int height() const = 0;
  /// Frames a second, on the average of the whole file, as it states them.
  virtual double fps() const = 0;

  /// The next frame in order of presentation, 8-bit RGB, turned as the file says it is to be shown; nothing after the last.
  /// YUV becomes RGB by the matrix and range that the file names, by BT.601's limited range where it names none. Throws BadFile
  /// where no more can be decoded, and for a frame of another size.
  virtual std::optional<VideoFrame> next() = 0;
};

/// Opens the first video stream that is no cover picture. Memory is that of a few frames. Throws BadFile where the file is
/// missing, empty, damaged or has no video, or its frames are beyond 16384 a side, Unsupported without FFmpeg or a decoder.
std::unique_ptr<VideoReader> open_video(const std::filesystem::path& path);

}  // namespace wan
