#include "preprocess/frame_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "base/files.h"

namespace wan {

FrameStore::FrameStore(const std::filesystem::path& folder, int width, int height)
    : width_(width),
      height_(height),
      file_(folder / "frames.raw", 0600),
      fd_(::open(file_.path().c_str(), O_RDWR | O_CLOEXEC)) {
  WAN_CHECK(fd_ >= 0, kIo, "cannot write {}: {}", file_.path().string(), system_reason(errno));
}

FrameStore::~FrameStore() {
  if (fd_ >= 0) ::close(fd_);
}

std::int64_t FrameStore::place_of(std::int64_t index) const {
  return index * width_ * height_ * 3;
}

void FrameStore::write(std::int64_t index, const Image& frame) {
  WAN_CHECK(frame.width == width_ && frame.height == height_, kInternal,
            "[frame store] {}x{} in place of {}x{}", frame.width, frame.height, width_, height_);
  std::size_t done = 0;
  while (done < frame.rgb.size()) {
    const ssize_t count = ::pwrite(fd_, frame.rgb.data() + done, frame.rgb.size() - done,
                                   place_of(index) + static_cast<std::int64_t>(done));
    if (count < 0 && errno == EINTR) continue;
    WAN_CHECK(count > 0, kIo, "cannot write {}: {}", file_.path().string(),
              system_reason(count == 0 ? ENOSPC : errno));
    done += static_cast<std::size_t>(count);
  }
}

Image FrameStore::read(std::int64_t index) const {
  Image frame = make_image(width_, height_);
  std::size_t done = 0;
  while (done < frame.rgb.size()) {
    const ssize_t count = ::pread(fd_, frame.rgb.data() + done, frame.rgb.size() - done,
                                  place_of(index) + static_cast<std::int64_t>(done));
    if (count < 0 && errno == EINTR) continue;
    WAN_CHECK(count > 0, kIo, "cannot read {}: {}", file_.path().string(),
              system_reason(count == 0 ? EIO : errno));
    done += static_cast<std::size_t>(count);
  }
  return frame;
}

}  // namespace wan
