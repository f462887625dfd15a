#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include "base/error.h"
#include "media/resample.h"

namespace wan {

namespace {

constexpr float kA = -0.75f;

/// Four neighbouring inputs and their weights.
struct Taps {
  std::array<int, 4> at;
  std::array<float, 4> weights;
};

/// The cubic convolution kernel at distance x: within [0, 1], and within [1, 2]. Products and sums are fused where PyTorch's
/// build for AVX2 and AVX-512 fuses them, on every processor.
float near_weight(float x) {
  return std::fma(std::fma(kA + 2.0f, x, -(kA + 3.0f)) * x, x, 1.0f);
}
float far_weight(float x) {
  return std::fma(std::fma(std::fma(kA, x, -5.0f * kA), x, 8.0f * kA), x, -4.0f * kA);
}

/// Positions in float32 and fused, as there: in an image thousands of pixels wide they are off by 1e-4 of a pixel, and so
/// must these be.
std::vector<Taps> all_taps(int in_size, int out_size) {
  const float scale = static_cast<float>(in_size) / static_cast<float>(out_size);
  std::vector<Taps> result;
  result.reserve(static_cast<std::size_t>(out_size));
  for (int i = 0; i < out_size; ++i) {
    const float position = std::fma(scale, static_cast<float>(i) + 0.5f, -0.5f);
    const int before = std::min(static_cast<int>(std::floor(position)), in_size - 1);
    const float t = std::clamp(position - static_cast<float>(before), 0.0f, 1.0f);
    Taps taps{{}, {far_weight(t + 1.0f), near_weight(t), near_weight(1.0f - t), far_weight(2.0f - t)}};
    for (int k = 0; k < 4; ++k)
      taps.at[static_cast<std::size_t>(k)] = std::clamp(before - 1 + k, 0, in_size - 1);
    result.push_back(taps);
  }
  return result;
}

void resize_row(const float* in, const std::vector<Taps>& columns, float* out) {
  for (const Taps& taps : columns) {
    for (int c = 0; c < 3; ++c) {
      float sum = 0.0f;
      for (std::size_t k = 0; k < 4; ++k) sum += in[3 * taps.at[k] + c] * taps.weights[k];
      *out++ = sum;
    }
  }
}

}  // namespace

void resize_bicubic(std::span<const float> pixels, int in_width, int in_height, std::span<float> out,
                    int width, int height) {
  const auto elements = [](int w, int h) {
    return static_cast<std::size_t>(w) * static_cast<std::size_t>(h) * 3;
  };
  WAN_CHECK(in_width > 0 && in_height > 0 && width > 0 && height > 0 &&
                pixels.size() == elements(in_width, in_height) && out.size() == elements(width, height),
            kInvalidArgument, "[resize] expected {}x{} pixels to {}x{}, got {} and {} values", in_width,
            in_height, width, height, pixels.size(), out.size());
  const std::vector<Taps> columns = all_taps(in_width, width);
  const std::vector<Taps> rows = all_taps(in_height, height);
  const std::size_t in_row = elements(in_width, 1);
  const std::size_t out_row = elements(width, 1);
  // The last four input rows at their new width; neighbours, so that each has a place of its own.
  std::array<std::vector<float>, 4> resized;
  std::array<int, 4> held{-1, -1, -1, -1};
  for (std::size_t y = 0; y < rows.size(); ++y) {
    std::array<const float*, 4> lines{};
    for (std::size_t k = 0; k < 4; ++k) {
      const int source = rows[y].at[k];
      const auto place = static_cast<std::size_t>(source % 4);
      if (held[place] != source) {
        resized[place].resize(out_row);
        resize_row(&pixels[in_row * static_cast<std::size_t>(source)], columns, resized[place].data());
        held[place] = source;
      }
      lines[k] = resized[place].data();
    }
    const std::array<float, 4>& weights = rows[y].weights;
    float* line = &out[out_row * y];
    for (std::size_t i = 0; i < out_row; ++i)
      line[i] = lines[0][i] * weights[0] + lines[1][i] * weights[1] + lines[2][i] * weights[2] +
                lines[3][i] * weights[3];
  }
}

}  // namespace wan
