#pragma once
// FrameStore: frames on disk that are read again in another order.

#include <cstdint>
#include <filesystem>

#include "base/temporary_file.h"
#include "media/image.h"

namespace wan {

/// Frames of one size as they are, in a file that no other process sees and that goes with the object.
class FrameStore {
 public:
  /// Throws Io.
  FrameStore(const std::filesystem::path& folder, int width, int height);
  ~FrameStore();
  FrameStore(const FrameStore&) = delete;
  FrameStore& operator=(const FrameStore&) = delete;

  /// Frame `index`, in place of one that is there. Throws Io (a full disk).
  void write(std::int64_t index, const Image& frame);
  Image read(std::int64_t index) const;

 private:
  std::int64_t place_of(std::int64_t index) const;

  int width_, height_;
  TemporaryFile file_;
  int fd_ = -1;
};

}  // namespace wan
