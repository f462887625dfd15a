#include "kept/finished_segments.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/log.h"
#include "weights/convert.h"

namespace wan {

namespace {

/// Whether the file's bytes serve as they are; other programs may have written them otherwise.
bool is_plain(const TensorView& view) {
  return view.is_contiguous() && reinterpret_cast<std::uintptr_t>(view.data()) % alignof(float) == 0;
}

}  // namespace

std::string finished_segment_name(std::size_t segment) {
  return fmt::format("segment_{}", segment);
}

void FinishedSegments::add(Tensor latent) {
  const auto held = std::make_shared<const Tensor>(std::move(latent));
  segments_.push_back({.view = *held, .held = held});
}

void FinishedSegments::read_from(const Checkpoint& file, std::size_t count, const Shape& shape) {
  FinishedSegments read;
  for (std::size_t segment = 0; segment < count; ++segment) {
    const std::string name = finished_segment_name(segment);
    const TensorEntry* entry = file.find(name);
    WAN_CHECK(entry != nullptr, kBadFile, "{}: expected a tensor {}", file.path(), name);
    WAN_CHECK(entry->dtype == DType::kF32 && entry->shape == shape, kBadFile,
              "{}: expected {} as f32 {}, got {} {}", file.path(), name, shape.to_string(),
              dtype_name(entry->dtype), entry->shape.to_string());
    if (is_plain(entry->view())) {
      read.segments_.push_back({.view = entry->view()});
    } else {
      Tensor copied(DType::kF32, shape);
      convert(*entry, copied);
      read.add(std::move(copied));
    }
    const float* const values = read[segment].as<float>();
    const bool finite =
        std::all_of(values, values + shape.elements(), [](float value) { return std::isfinite(value); });
    file.check_read(*entry);
    WAN_CHECK(finite, kBadFile, "{}: {} holds values that are not finite", file.path(), name);
    file.release_pages(*entry);
  }
  read.file_ = file;
  *this = std::move(read);
}

void FinishedSegments::move_to(const std::filesystem::path& kept) {
  if (kept.empty() || segments_.empty()) return;
  try {
    read_from(Checkpoint::open(kept), segments_.size(), segments_.front().view.shape());
  } catch (const Error& error) {
    log(LogLevel::kDebug, error.what());
  }
}

void FinishedSegments::check_read() const {
  for (std::size_t segment = 0; segment < segments_.size(); ++segment)
    if (file_ && !segments_[segment].held) file_->check_read(*file_->find(finished_segment_name(segment)));
}

}  // namespace wan
