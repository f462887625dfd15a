#include "preprocess/face_crop.h"

#include <algorithm>
#include <cmath>

#include "media/resample.h"

namespace wan {

std::optional<FaceBox> face_box(const Pose& pose) {
  const auto x_of = [&](const PosePoint& point) { return static_cast<double>(point.x) * pose.width; };
  const auto y_of = [&](const PosePoint& point) { return static_cast<double>(point.y) * pose.height; };
  const auto [left, right] = std::ranges::minmax(pose.face, {}, x_of);
  const auto [upper, lower] = std::ranges::minmax(pose.face, {}, y_of);
  const double least_x = x_of(left), most_x = x_of(right), least_y = y_of(upper), most_y = y_of(lower);
  const double width = most_x - least_x, height = most_y - least_y;
  constexpr double kRoom = 1.3;
  const double area = width * height * kRoom;
  const double more_width = (std::sqrt(area * (width / height)) - width) / 2;
  const double more_height = (std::sqrt(area * (height / width)) - height) / 4;
  const double edges[] = {std::max(least_x - more_width, 0.0),
                          std::min(most_x + more_width, static_cast<double>(pose.width)),
                          std::max(least_y - 3 * more_height, 0.0),
                          std::min(most_y + more_height, static_cast<double>(pose.height))};
  constexpr double kFarthest = 1e6;  // also of NaN
  for (const double edge : edges)
    if (!(std::abs(edge) < kFarthest)) return {};
  if (!std::isfinite(more_width) || !std::isfinite(more_height)) return {};
  const FaceBox box{static_cast<int>(edges[0]), static_cast<int>(edges[1]), static_cast<int>(edges[2]),
                    static_cast<int>(edges[3])};
  const bool inside = box.right > box.left && box.bottom > box.top;
  return inside ? std::optional(box) : std::nullopt;
}

Image face_picture(const Image& frame, const FaceBox& box, int side) {
  return resize_opencv_linear(crop(frame, box.left, box.top, box.right - box.left, box.bottom - box.top),
                              side, side);
}

}  // namespace wan
