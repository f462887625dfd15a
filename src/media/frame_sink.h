#pragma once
// Where the frames of a video go, one after another, while later ones are still being computed.

#include <cstddef>
#include <cstdint>

namespace wan {

struct VideoFormat {
  int width = 0;
  int height = 0;
  double fps = 0;       // frames a second; unused for stills
  int frame_count = 0;  // as many as will be written
};

/// Bytes of one frame, H * W * 3.
inline std::size_t frame_bytes(const VideoFormat& format) {
  return static_cast<std::size_t>(format.width) * static_cast<std::size_t>(format.height) * 3;
}

/// A file, or a set of files, under construction. Nothing is there under a final name before finish() has
/// returned; destroyed without it, a sink leaves nothing behind. Used from one thread at a time.
class FrameSink {
 public:
  FrameSink() = default;
  virtual ~FrameSink() = default;
  FrameSink(const FrameSink&) = delete;
  FrameSink& operator=(const FrameSink&) = delete;

  /// The next frame: 8-bit sRGB, [H, W, 3], rows without gaps. It is copied or used up before the return.
  /// Throws Io, naming the file and the reason, perhaps for an earlier frame: sinks may work on a thread of
  /// their own. After an error only destruction is left.
  virtual void write(const std::uint8_t* rgb) = 0;

  /// Completes the output and makes it appear. Once, after the last frame. Throws as write().
  virtual void finish() = 0;
};

}  // namespace wan
