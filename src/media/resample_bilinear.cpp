#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "base/error.h"
#include "media/resample.h"

namespace wan {

namespace {

/// One output position: a weighted sum of neighbouring inputs.
struct FloatWindow {
  int first;                   // input index of weights[0]
  std::vector<float> weights;  // in sum 1
};

/// In float32, as PyTorch computes them.
std::vector<FloatWindow> float_windows(int in_size, int out_size) {
  const float scale = static_cast<float>(in_size) / static_cast<float>(out_size);
  const float reach = std::max(scale, 1.0f);
  const float shrink = 1.0f / reach;
  std::vector<FloatWindow> result;
  for (int i = 0; i < out_size; ++i) {
    const float center = scale * (static_cast<float>(i) + 0.5f);
    const int first = std::max(static_cast<int>(center - reach + 0.5f), 0);
    const int end = std::min(static_cast<int>(center + reach + 0.5f), in_size);
    FloatWindow window{first, {}};
    float sum = 0.0f;
    for (int x = 0; x < end - first; ++x) {
      const float distance = (static_cast<float>(x + first) - center + 0.5f) * shrink;
      window.weights.push_back(std::max(0.0f, 1.0f - std::abs(distance)));
      sum += window.weights.back();
    }
    for (float& weight : window.weights) weight /= sum;
    result.push_back(std::move(window));
  }
  return result;
}

}  // namespace

void resize_bilinear(std::span<const float> pixels, int in_width, int in_height, std::span<float> out,
                     int width, int height) {
  const auto elements = [](int w, int h) {
    return static_cast<std::size_t>(w) * static_cast<std::size_t>(h) * 3;
  };
  WAN_CHECK(in_width > 0 && in_height > 0 && width > 0 && height > 0 &&
                pixels.size() == elements(in_width, in_height) && out.size() == elements(width, height),
            kInvalidArgument, "[resize] expected {}x{} pixels to {}x{}, got {} and {} values", in_width,
            in_height, width, height, pixels.size(), out.size());
  const std::vector<FloatWindow> columns = float_windows(in_width, width);
  const std::size_t out_row = elements(width, 1);
  std::vector<float> narrow(elements(width, in_height));
  for (int y = 0; y < in_height; ++y) {
    const float* const in = &pixels[elements(in_width, y)];
    float* to = &narrow[out_row * static_cast<std::size_t>(y)];
    for (const FloatWindow& window : columns)
      for (std::size_t c = 0; c < 3; ++c) {
        float sum = 0.0f;
        for (std::size_t k = 0; k < window.weights.size(); ++k)
          sum += in[3 * (static_cast<std::size_t>(window.first) + k) + c] * window.weights[k];
        *to++ = sum;
      }
  }
  std::fill(out.begin(), out.end(), 0.0f);
  float* to = out.data();
  for (const FloatWindow& window : float_windows(in_height, height)) {
    for (std::size_t k = 0; k < window.weights.size(); ++k) {
      const float* const in = &narrow[out_row * (static_cast<std::size_t>(window.first) + k)];
      for (std::size_t i = 0; i < out_row; ++i) to[i] += in[i] * window.weights[k];
    }
    to += out_row;
  }
}

}  // namespace wan
