#include "preprocess/detection.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "media/resample.h"

namespace wan {

namespace {

constexpr float kLeastScore = 0.05f;
constexpr double kLeastScoreOfPerson = 0.05;
constexpr double kMostOverlap = 0.5;
constexpr double kLeastLength = 0.4;
constexpr std::int64_t kRowOfSix = 6;
constexpr std::int64_t kBoxValues = 4;
constexpr std::int64_t kPerson = 0;

/// In whole pixels of the frame.
struct Box {
  double left, top, width, height;
  float score;
  std::int64_t kind;

  double area() const { return width * height; }
  double longer() const { return std::max(width, height); }
};

std::vector<Box> boxes_of_rows(const Detections& all, double x_factor, double y_factor) {
  std::vector<Box> boxes;
  for (std::int64_t row = 0; row < all.rows; ++row) {
    const float* const values = all.values.data() + row * kRowOfSix;
    if (!(values[4] >= kLeastScore)) continue;
    const auto scaled = [&](int i) {
      return static_cast<float>(values[i] * (i % 2 == 0 ? x_factor : y_factor));
    };
    const float left = scaled(0), top = scaled(1);
    boxes.push_back({std::trunc(left), std::trunc(top), std::trunc(scaled(2) - left),
                     std::trunc(scaled(3) - top), values[4], std::llrint(values[5])});
  }
  return boxes;
}

std::vector<Box> boxes_of_columns(const Detections& all, double x_factor, double y_factor) {
  std::vector<Box> boxes;
  for (std::int64_t column = 0; column < all.columns; ++column) {
    const auto at = [&](std::int64_t row) {
      return all.values[static_cast<std::size_t>(row * all.columns + column)];
    };
    std::int64_t kind = 0;
    for (std::int64_t i = 1; i < all.rows - kBoxValues; ++i)
      if (at(kBoxValues + i) > at(kBoxValues + kind)) kind = i;
    const float score = at(kBoxValues + kind);
    if (!(score >= kLeastScore)) continue;
    const float width = at(2), height = at(3);
    boxes.push_back({std::trunc((at(0) - width / 2) * x_factor), std::trunc((at(1) - height / 2) * y_factor),
                     std::trunc(width * x_factor), std::trunc(height * y_factor), score, kind});
  }
  return boxes;
}

/// The part of both that they share, as OpenCV's Jaccard distance has it: two without an area are one.
float overlap(const Box& a, const Box& b) {
  const double both = a.area() + b.area();
  if (both <= 2.220446049250313e-16) return 1.0f;
  const double width = std::min(a.left + a.width, b.left + b.width) - std::max(a.left, b.left);
  const double height = std::min(a.top + a.height, b.top + b.height) - std::max(a.top, b.top);
  const double shared = width <= 0 || height <= 0 ? 0.0 : width * height;
  return 1.0f - static_cast<float>(1.0 - shared / (both - shared));
}

/// Those that overlap none that is better, best first.
std::vector<Box> without_overlaps(std::vector<Box> boxes) {
  std::erase_if(boxes, [](const Box& box) { return !(box.score > kLeastScore); });
  std::ranges::stable_sort(boxes, std::ranges::greater(), &Box::score);
  std::vector<Box> kept;
  for (const Box& box : boxes) {
    const auto hides = [&](const Box& better) {
      return !(overlap(box, better) <= static_cast<float>(kMostOverlap));
    };
    if (std::ranges::none_of(kept, hides)) kept.push_back(box);
  }
  return kept;
}

}  // namespace

std::vector<float> detector_input(const Image& frame, int width, int height) {
  const Image stretched = resize_opencv_linear(frame, width, height);
  const std::size_t pixels = stretched.rgb.size() / 3;
  std::array<float, 256> shares{};
  for (std::size_t level = 0; level < shares.size(); ++level)
    shares[level] = static_cast<float>(static_cast<double>(level) / 255.0);
  std::vector<float> values(stretched.rgb.size());
  for (std::size_t i = 0; i < pixels; ++i)
    for (std::size_t channel = 0; channel < 3; ++channel)
      values[channel * pixels + i] = shares[stretched.rgb[3 * i + channel]];
  return values;
}

std::optional<PersonBox> find_person(const Detections& all, int width, int height, int frame_width,
                                     int frame_height) {
  const bool rows = all.columns == kRowOfSix;
  WAN_CHECK(all.rows >= 0 && static_cast<std::int64_t>(all.values.size()) == all.rows * all.columns &&
                (rows || all.rows > kBoxValues),
            kBadFile,
            "[detector] its answer is [{}, {}], expected [N, 6] (YOLOv10) or [4 + classes, N] (YOLOv8)",
            all.rows, all.columns);
  const double x_factor = static_cast<double>(frame_width) / width;
  const double y_factor = static_cast<double>(frame_height) / height;
  std::vector<Box> people = without_overlaps(rows ? boxes_of_rows(all, x_factor, y_factor)
                                                  : boxes_of_columns(all, x_factor, y_factor));
  std::erase_if(people,
                [](const Box& box) { return box.kind != kPerson || !(box.score > kLeastScoreOfPerson); });
  double longest = -1;
  for (const Box& box : people) longest = std::max(longest, box.longer());
  const Box* chosen = nullptr;
  double largest = -10.0 * frame_width * frame_height;
  for (const Box& box : people) {
    if (!(box.area() > largest) || box.longer() < longest * kLeastLength) continue;
    largest = box.area();
    longest = box.longer();  // of those that follow, the length of the one chosen counts
    chosen = &box;
  }
  if (chosen == nullptr) return {};
  return PersonBox{.left = chosen->left,
                   .top = chosen->top,
                   .right = chosen->left + chosen->width,
                   .bottom = chosen->top + chosen->height,
                   .score = chosen->score};
}

}  // namespace wan
