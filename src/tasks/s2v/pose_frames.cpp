#include "tasks/s2v/pose_frames.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace wan {

PoseReader::PoseReader(const std::filesystem::path& video, PoseFrames taken, double fps)
    : reader_(open_video(video)),
      taken_(taken),
      fps_(fps),
      interval_(std::max<std::int64_t>(1, std::llrint(reader_->fps() / fps))) {}

std::vector<Image> PoseReader::take(std::int64_t count) {
  std::vector<Image> images;
  for (std::int64_t i = 0; i < count; ++i) {
    const Image* const image = next();
    if (image == nullptr) break;
    images.push_back(*image);
  }
  return images;
}

void PoseReader::skip(std::int64_t count) {
  for (std::int64_t i = 0; i < count && next() != nullptr; ++i) {
  }
}

bool PoseReader::read_to(std::int64_t index) {
  while (!over_ && read_ <= index) {
    current_ = reader_->next();
    over_ = !current_.has_value();
    ++read_;
  }
  return !over_;
}

const Image* PoseReader::next() {
  const std::int64_t frame = done_++;
  if (taken_ == PoseFrames::kEveryNth) return read_to(frame * interval_) ? &current_->image : nullptr;
  constexpr double kSlack = 1e-6;  // of times that are the same
  const double moment = static_cast<double>(frame) / fps_ + kSlack;
  if (!current_ && !over_) {
    current_ = reader_->next();
    following_ = reader_->next();
  }
  while (following_ && following_->seconds <= moment) {
    current_ = std::exchange(following_, reader_->next());
  }
  // The last one is shown as long as the others.
  over_ = over_ || !current_ || (!following_ && moment >= current_->seconds + 1.0 / reader_->fps());
  return over_ ? nullptr : &current_->image;
}

}  // namespace wan
