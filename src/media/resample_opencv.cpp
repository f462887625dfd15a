#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "media/resample.h"

namespace wan {

namespace {

constexpr int kFixedOne = 2048;  // 11 bits: 22 of a product of two, 4 of which go before the second one

/// Of a row or column of the result: the two of the image that it lies between, and their weights.
struct Neighbours {
  int first, second;
  int first_weight, second_weight;
};

std::vector<Neighbours> neighbours_of(int in, int out, bool columns) {
  const double scale = 1.0 / (static_cast<double>(out) / in);
  std::vector<Neighbours> all;
  for (int i = 0; i < out; ++i) {
    auto at = static_cast<float>((i + 0.5) * scale - 0.5);
    int first = static_cast<int>(std::floor(at));
    at -= static_cast<float>(first);
    // Columns beyond the border are that at the border alone; rows are weighed with themselves, which rounds alike.
    if (columns && first < 0) first = 0, at = 0.0f;
    if (columns && first >= in - 1) first = in - 1, at = 0.0f;
    const auto weight = [](float share) {
      return static_cast<int>(std::lrint(share * static_cast<float>(kFixedOne)));
    };
    all.push_back(
        {std::clamp(first, 0, in - 1), std::clamp(first + 1, 0, in - 1), weight(1.0f - at), weight(at)});
  }
  return all;
}

/// The mean of each two by two pixels, halves up.
Image halved(const Image& image) {
  Image out = make_image(image.width / 2, image.height / 2);
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width * 3; ++x) {
      const int left = x / 3 * 6 + x % 3;
      const std::uint8_t *above = image.row(2 * y) + left, *below = image.row(2 * y + 1) + left;
      out.row(y)[x] = static_cast<std::uint8_t>((above[0] + above[3] + below[0] + below[3] + 2) >> 2);
    }
  return out;
}

/// Rows of an image in the width of the result. The last two that were asked for are kept.
class SqueezedRows {
 public:
  SqueezedRows(const Image& image, const std::vector<Neighbours>& columns)
      : image_(image), columns_(columns) {
    for (Row& row : rows_) row.levels.resize(3 * columns.size());
  }

  /// Valid until the second next call.
  const int* row(int y) {
    if (rows_[last_].y == y) return rows_[last_].levels.data();
    last_ = 1 - last_;
    if (rows_[last_].y != y) make(y, rows_[last_]);
    return rows_[last_].levels.data();
  }

 private:
  struct Row {
    int y = -1;
    std::vector<int> levels;
  };

  void make(int y, Row& row) const {
    const std::uint8_t* const levels = image_.row(y);
    int* out = row.levels.data();
    for (const Neighbours& of : columns_)
      for (int channel = 0; channel < 3; ++channel)
        *out++ = (levels[of.first * 3 + channel] * of.first_weight +
                  levels[of.second * 3 + channel] * of.second_weight) >>
                 4;
    row.y = y;
  }

  const Image& image_;
  const std::vector<Neighbours>& columns_;
  std::array<Row, 2> rows_;
  std::size_t last_ = 0;
};

}  // namespace

Image resize_opencv_linear(const Image& image, int width, int height) {
  if (width == image.width && height == image.height) return image;
  Image out = make_image(width, height);
  if (image.width == 2 * width && image.height == 2 * height) return halved(image);
  const std::vector<Neighbours> columns = neighbours_of(image.width, width, /*columns=*/true);
  const std::vector<Neighbours> rows = neighbours_of(image.height, height, /*columns=*/false);
  SqueezedRows squeezed(image, columns);
  const std::size_t levels = 3 * columns.size();
  for (int y = 0; y < height; ++y) {
    const Neighbours& of = rows[static_cast<std::size_t>(y)];
    const int *const first = squeezed.row(of.first), *const second = squeezed.row(of.second);
    std::uint8_t* const result = out.row(y);
    for (std::size_t i = 0; i < levels; ++i) {
      const int above = (of.first_weight * first[i]) >> 16, below = (of.second_weight * second[i]) >> 16;
      result[i] = static_cast<std::uint8_t>((above + below + 2) >> 2);
    }
  }
  return out;
}

}  // namespace wan
