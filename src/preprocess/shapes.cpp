#include "preprocess/shapes.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

#include "base/error.h"

namespace wan {

namespace {

/// Coordinates of wide lines have 16 bits of fraction.
constexpr int kFraction = 16;
constexpr std::int64_t kOne = std::int64_t{1} << kFraction;
constexpr std::int64_t kHalf = kOne / 2;

/// The sine of whole degrees, -360 to 450, in OpenCV's seven digits.
float sine_of(int degrees) {
  const double digits = 1e7;
  const double sine = std::sin(degrees * std::numbers::pi / 180.0);
  return static_cast<float>(std::round(sine * digits) / digits);
}

float cosine_of(int degrees) {
  return sine_of(90 + degrees);
}

bool is_inside(const Image& image, std::int64_t x, std::int64_t y) {
  return x >= 0 && x < image.width && y >= 0 && y < image.height;
}

void set(Image& image, std::int64_t x, std::int64_t y, const Color& color) {
  std::copy(color.begin(), color.end(), image.row(static_cast<int>(y)) + 3 * x);
}

/// Columns first to last of a row, both included; those outside of the image are left out, and so is a row outside.
void fill_row(Image& image, std::int64_t y, std::int64_t first, std::int64_t last, const Color& color) {
  if (y < 0 || y >= image.height) return;
  first = std::max<std::int64_t>(first, 0);
  last = std::min<std::int64_t>(last, image.width - 1);
  for (std::int64_t x = first; x <= last; ++x) set(image, x, y, color);
}

/// Which sides of [0, right] x [0, bottom] a point is beyond.
struct Beyond {
  Beyond(const Pixel& p, std::int64_t last_column, std::int64_t last_row)
      : left(p.x < 0), right(p.x > last_column), above(p.y < 0), below(p.y > last_row) {}

  bool any() const { return left || right || above || below; }
  bool any_with(const Beyond& other) const {
    return (left && other.left) || (right && other.right) || (above && other.above) || (below && other.below);
  }

  bool left, right, above, below;
};

/// a b / c, rounded towards zero, of products that need more than 64 bits: coordinates far outside have 16 more of a fraction.
std::int64_t multiply_divide(std::int64_t a, std::int64_t b, std::int64_t c) {
  __extension__ using Wide = __int128;
  return static_cast<std::int64_t>(static_cast<Wide>(a) * b / c);
}

/// Moves `p` to the row or column of the border that it is beyond, along the line to `other`, rows first: whole-number divisions, rounded towards zero.
void move_to_rows(Pixel& p, const Pixel& other, const Beyond& beyond, std::int64_t bottom) {
  if (!beyond.above && !beyond.below) return;
  const std::int64_t row = beyond.above ? 0 : bottom;
  p.x += multiply_divide(row - p.y, other.x - p.x, other.y - p.y);
  p.y = row;
}

void move_to_columns(Pixel& p, const Pixel& other, const Beyond& beyond, std::int64_t right) {
  if (!beyond.left && !beyond.right) return;
  const std::int64_t column = beyond.left ? 0 : right;
  p.y += multiply_divide(column - p.x, other.y - p.y, other.x - p.x);
  p.x = column;
}

/// Cuts a line to [0, width) x [0, height); false where nothing of it is left.
bool clip(Pixel& a, Pixel& b, std::int64_t width, std::int64_t height) {
  const std::int64_t right = width - 1, bottom = height - 1;
  Beyond of_a(a, right, bottom), of_b(b, right, bottom);
  if (!of_a.any() && !of_b.any()) return true;
  if (of_a.any_with(of_b)) return false;
  move_to_rows(a, b, of_a, bottom);
  if (of_a.above || of_a.below) of_a = Beyond(a, right, std::numeric_limits<std::int64_t>::max());
  of_a.above = of_a.below = false;
  move_to_rows(b, a, of_b, bottom);
  if (of_b.above || of_b.below) of_b = Beyond(b, right, std::numeric_limits<std::int64_t>::max());
  of_b.above = of_b.below = false;
  if (of_a.any_with(of_b)) return false;
  if (of_a.any() || of_b.any()) {
    move_to_columns(a, b, of_a, right);
    move_to_columns(b, a, of_b, right);
  }
  return true;
}

/// A line of whole pixels, from left to right, by Bresenham's rule.
void draw_thin(Image& image, Pixel a, Pixel b, const Color& color) {
  if (!clip(a, b, image.width, image.height)) return;
  if (b.x < a.x) std::swap(a, b);
  const std::int64_t dx = b.x - a.x, dy = std::abs(b.y - a.y), down = b.y < a.y ? -1 : 1;
  const bool steep = dy > dx;
  const std::int64_t longer = std::max(dx, dy), shorter = std::min(dx, dy);
  std::int64_t error = longer - 2 * shorter;
  for (std::int64_t i = 0; i <= longer; ++i) {
    set(image, a.x, a.y, color);
    const bool both = error < 0;
    error += both ? 2 * longer - 2 * shorter : -2 * shorter;
    if (steep || both) a.y += down;
    if (!steep || both) a.x += 1;
  }
}

/// A line between points with fractions.
void draw_exact(Image& image, Pixel a, Pixel b, const Color& color) {
  if (!clip(a, b, image.width * kOne, image.height * kOne)) return;
  const bool flat = std::abs(b.x - a.x) > std::abs(b.y - a.y);
  if (flat ? b.x < a.x : b.y < a.y) std::swap(a, b);
  const std::int64_t dx = b.x - a.x, dy = b.y - a.y;
  const auto put = [&](std::int64_t x, std::int64_t y) {
    if (is_inside(image, x, y)) set(image, x, y, color);
  };
  put((b.x + kHalf) >> kFraction, (b.y + kHalf) >> kFraction);
  const std::int64_t steps = (flat ? dx : dy) >> kFraction;
  const std::int64_t x_step = flat ? kOne : dx * kOne / (dy | 1);
  const std::int64_t y_step = flat ? dy * kOne / (dx | 1) : kOne;
  a.x += kHalf;
  a.y += kHalf;
  for (std::int64_t i = 0; i <= steps; ++i) {
    put(a.x >> kFraction, a.y >> kFraction);
    a.x += x_step;
    a.y += y_step;
  }
}

/// One of the two sides of a convex polygon on the way down: the edge that it is at.
struct Side {
  std::size_t at;    // the point where the edge begins
  std::size_t step;  // to the next point, modulo their number
  std::int64_t end;  // the row at which the edge is over
  std::int64_t x = -kOne, slope = 0;
};

/// Fills what lies between the sides of a polygon whose points have `fraction` bits of fraction.
void fill_between(Image& image, std::span<const Pixel> points, int fraction, const Color& color) {
  const std::size_t count = points.size();
  const std::int64_t half = (std::int64_t{1} << fraction) / 2;
  const auto row_of = [&](const Pixel& p) { return (p.y + half) >> fraction; };
  std::size_t top = 0;
  std::int64_t most_x = points[0].x, least_x = points[0].x, most_y = points[0].y;
  for (std::size_t i = 0; i < count; ++i) {
    if (points[i].y < points[top].y) top = i;
    most_y = std::max(most_y, points[i].y);
    most_x = std::max(most_x, points[i].x);
    least_x = std::min(least_x, points[i].x);
  }
  std::int64_t y = row_of(points[top]);
  const std::int64_t last = std::min<std::int64_t>((most_y + half) >> fraction, image.height - 1);
  if (count < 3 || (most_x + half) >> fraction < 0 || (most_y + half) >> fraction < 0 ||
      (least_x + half) >> fraction >= image.width || y >= image.height)
    return;
  Side sides[2] = {{.at = top, .step = 1, .end = y}, {.at = top, .step = count - 1, .end = y}};
  auto edges = static_cast<std::int64_t>(count);
  do {
    for (Side& side : sides) {
      if (y < side.end) continue;
      std::size_t from = side.at, to = (side.at + side.step) % count;
      for (; edges-- > 0; from = to, to = (to + side.step) % count) {
        const std::int64_t end = row_of(points[to]);
        if (end <= y) continue;
        const std::int64_t begin_x = points[from].x << (kFraction - fraction);
        const std::int64_t end_x = points[to].x << (kFraction - fraction);
        side = {.at = to,
                .step = side.step,
                .end = end,
                .x = begin_x,
                .slope = ((end_x - begin_x) * 2 + (end - y)) / (2 * (end - y))};
        break;
      }
    }
    if (edges < 0) break;
    const auto [left, right] = std::minmax(sides[0].x, sides[1].x);
    fill_row(image, y, (left + kHalf) >> kFraction, (right + kHalf) >> kFraction, color);
    for (Side& side : sides) side.x += side.slope;
  } while (++y <= last);
}

}  // namespace

std::vector<Pixel> ellipse_polygon(const Pixel& centre, int across, int along, int angle) {
  WAN_CHECK(angle >= -360 && angle <= 360, kInvalidArgument, "[ellipse] expected -360 to 360 degrees, got {}",
            angle);
  if (angle < 0) angle += 360;
  const float cosine = cosine_of(angle), sine = sine_of(angle);
  std::vector<Pixel> points;
  for (int degrees = 0; degrees <= 360; ++degrees) {
    const double x = across * static_cast<double>(cosine_of(degrees));
    const double y = along * static_cast<double>(sine_of(degrees));
    const Pixel point{std::llrint(static_cast<double>(centre.x) + x * cosine - y * sine),
                      std::llrint(static_cast<double>(centre.y) + x * sine + y * cosine)};
    if (points.empty() || !(points.back() == point)) points.push_back(point);
  }
  if (points.size() == 1) points.assign(2, centre);
  return points;
}

void fill_polygon(Image& image, std::span<const Pixel> points, const Color& color) {
  if (points.empty()) return;
  for (std::size_t i = 0; i < points.size(); ++i)
    draw_thin(image, points[(i + points.size() - 1) % points.size()], points[i], color);
  fill_between(image, points, 0, color);
}

void fill_circle(Image& image, const Pixel& centre, int radius, const Color& color) {
  std::int64_t error = 0, dx = radius, dy = 0, plus = 1, minus = 2 * std::int64_t{radius} - 1;
  while (dx >= dy) {
    for (const std::int64_t sign : {-1, 1}) {
      fill_row(image, centre.y + sign * dy, centre.x - dx, centre.x + dx, color);
      fill_row(image, centre.y + sign * dx, centre.x - dy, centre.x + dy, color);
    }
    ++dy;
    error += plus;
    plus += 2;
    if (error > 0) {
      error -= minus;
      --dx;
      minus -= 2;
    }
  }
}

void draw_line(Image& image, const Pixel& from, const Pixel& to, const Color& color, int width) {
  if (width <= 1) return draw_thin(image, from, to, color);
  const double dx = static_cast<double>(from.x - to.x), dy = static_cast<double>(to.y - from.y);
  const double squared = dx * dx + dy * dy;
  const std::int64_t half_width = width * kHalf;
  if (squared > 0) {
    const double scale =
        (static_cast<double>(half_width) + (width % 2) * static_cast<double>(kHalf)) / std::sqrt(squared);
    const std::int64_t x = std::llrint(dy * scale), y = std::llrint(dx * scale);
    const Pixel a{from.x * kOne, from.y * kOne}, b{to.x * kOne, to.y * kOne};
    const Pixel corners[] = {{a.x + x, a.y + y}, {a.x - x, a.y - y}, {b.x - x, b.y - y}, {b.x + x, b.y + y}};
    for (std::size_t i = 0; i < 4; ++i) draw_exact(image, corners[(i + 3) % 4], corners[i], color);
    fill_between(image, corners, kFraction, color);
  }
  const auto radius = static_cast<int>((half_width + kHalf) >> kFraction);
  fill_circle(image, from, radius, color);
  fill_circle(image, to, radius, color);
}

}  // namespace wan
