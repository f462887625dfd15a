#pragma once
// Drawing of filled shapes and lines as OpenCV does it with LINE_8: equal to the pixel. What lies outside of an image is left out.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "media/image.h"

namespace wan {

/// Of a pixel, or with fractions that the functions below state.
struct Pixel {
  std::int64_t x = 0;
  std::int64_t y = 0;
  friend bool operator==(const Pixel&, const Pixel&) = default;
};

using Color = std::array<std::uint8_t, 3>;  // RGB

/// OpenCV's ellipse2Poly() of a whole ellipse with a point a degree: `across` and `along` are its half axes, `angle` degrees by which it is turned, from -360 to 360.
/// Points that follow on one another differ; one that is a single pixel is its centre, twice.
std::vector<Pixel> ellipse_polygon(const Pixel& centre, int across, int along, int angle);

/// fillConvexPoly(): the edges and what lies between them.
void fill_polygon(Image& image, std::span<const Pixel> points, const Color& color);

/// circle() with thickness -1. `radius` is 0 or more.
void fill_circle(Image& image, const Pixel& centre, int radius, const Color& color);

/// line() of a width of 1 or more: a wide one has round ends.
void draw_line(Image& image, const Pixel& from, const Pixel& to, const Color& color, int width);

}  // namespace wan
