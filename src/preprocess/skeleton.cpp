#include "preprocess/skeleton.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "preprocess/shapes.h"

namespace wan {

namespace {

constexpr double kLeastDrawnScore = 0.5;

constexpr std::array<Color, 20> kColors = {
    {{255, 0, 0},   {255, 85, 0},  {255, 170, 0}, {255, 255, 0}, {170, 255, 0}, {85, 255, 0}, {0, 255, 0},
     {0, 255, 85},  {0, 255, 170}, {0, 255, 255}, {0, 170, 255}, {0, 85, 255},  {0, 0, 255},  {85, 0, 255},
     {170, 0, 255}, {255, 0, 255}, {255, 0, 170}, {255, 0, 85},  {200, 200, 0}, {100, 100, 0}}};
constexpr Color kHandPoint = {0, 0, 255};

/// The fingers' lines, each from the hand's root outwards.
constexpr std::array<std::array<int, 2>, 20> kFingers = {
    {{0, 1},   {1, 2},   {2, 3},  {3, 4},   {0, 5},   {5, 6},   {6, 7},  {7, 8},   {0, 9},   {9, 10},
     {10, 11}, {11, 12}, {0, 13}, {13, 14}, {14, 15}, {15, 16}, {0, 17}, {17, 18}, {18, 19}, {19, 20}}};

/// Where nothing is drawn: a score too low, or a place so far away (or none at all) that no pixel would be in the picture.
bool is_shown(const SkeletonPoint& point) {
  constexpr double kFarthest = 1e6;
  return point.score >= kLeastDrawnScore && std::abs(point.x) < kFarthest && std::abs(point.y) < kFarthest;
}

Pixel pixel_of(const SkeletonPoint& point) {
  return {static_cast<std::int64_t>(point.x), static_cast<std::int64_t>(point.y)};
}

/// The full colour of a hue of 0 to 1.
Color color_of_hue(double hue) {
  const double sixth = hue * 6.0;
  const int part = static_cast<int>(sixth);
  const double up = sixth - part, down = 1.0 - up;
  const std::array<std::array<double, 3>, 6> parts = {{{1.0, 1.0 - down, 0},
                                                       {down, 1.0, 0},
                                                       {0, 1.0, 1.0 - down},
                                                       {0, down, 1.0},
                                                       {1.0 - down, 0, 1.0},
                                                       {1.0, 0, down}}};
  Color color{};
  std::ranges::transform(parts[static_cast<std::size_t>(part)], color.begin(),
                         [](double value) { return static_cast<std::uint8_t>(std::lrint(value * 255)); });
  return color;
}

void draw_bone(Image& image, const SkeletonPoint& a, const SkeletonPoint& b, const Color& color, int width) {
  const double dy = a.y - b.y, dx = a.x - b.x;
  const double length = std::sqrt(dy * dy + dx * dx);
  const double degrees = std::atan2(dy, dx) * (180.0 / std::numbers::pi);
  const Pixel centre{static_cast<std::int64_t>((a.x + b.x) / 2), static_cast<std::int64_t>((a.y + b.y) / 2)};
  constexpr double kShade = 0.6;
  Color shaded{};
  std::ranges::transform(color, shaded.begin(),
                         [](std::uint8_t level) { return static_cast<std::uint8_t>(level * kShade); });
  fill_polygon(image, ellipse_polygon(centre, static_cast<int>(length / 2), width, static_cast<int>(degrees)),
               shaded);
}

void draw_hand(Image& image, std::span<const SkeletonPoint> hand, int width) {
  const auto is_inside = [](const Pixel& pixel) { return pixel.x >= 1 && pixel.y >= 1; };
  for (std::size_t i = 0; i < kFingers.size(); ++i) {
    const SkeletonPoint& from = hand[static_cast<std::size_t>(kFingers[i][0])];
    const SkeletonPoint& to = hand[static_cast<std::size_t>(kFingers[i][1])];
    if (!is_shown(from) || !is_shown(to) || !is_inside(pixel_of(from)) || !is_inside(pixel_of(to))) continue;
    draw_line(image, pixel_of(from), pixel_of(to),
              color_of_hue(static_cast<double>(i) / static_cast<double>(kFingers.size())), width);
  }
  for (const SkeletonPoint& point : hand)
    if (is_shown(point) && is_inside(pixel_of(point))) fill_circle(image, pixel_of(point), width, kHandPoint);
}

}  // namespace

Skeleton skeleton_of(const Pose& pose) {
  Skeleton skeleton;
  const auto place = [&](const auto& points, auto& group) {
    std::ranges::transform(points, group.begin(), [&](const PosePoint& point) {
      return SkeletonPoint{static_cast<double>(point.x) * pose.width,
                           static_cast<double>(point.y) * pose.height, point.score};
    });
  };
  place(pose.body, skeleton.body);
  place(pose.left_hand, skeleton.left_hand);
  place(pose.right_hand, skeleton.right_hand);
  return skeleton;
}

Image draw_skeleton(const Skeleton& skeleton, int width, int height) {
  Image image = make_image(width, height);
  const int stick = std::max(std::min(width, height) / 200 - 1, 1);
  for (std::size_t i = 0; i < kBones.size(); ++i) {
    const SkeletonPoint& a = skeleton.body[static_cast<std::size_t>(kBones[i][0])];
    const SkeletonPoint& b = skeleton.body[static_cast<std::size_t>(kBones[i][1])];
    if (is_shown(a) && is_shown(b)) draw_bone(image, a, b, kColors[i], stick);
  }
  for (std::size_t i = 0; i < skeleton.body.size(); ++i)
    if (is_shown(skeleton.body[i])) fill_circle(image, pixel_of(skeleton.body[i]), stick, kColors[i]);
  const int hand_width = std::max(stick / 2, 1);
  draw_hand(image, skeleton.left_hand, hand_width);
  draw_hand(image, skeleton.right_hand, hand_width);
  return image;
}

}  // namespace wan
