#include "models/sam2/positions.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

namespace wan::sam2 {

namespace {

/// Four neighbouring tokens and their weights.
struct CubicTaps {
  std::array<std::int64_t, 4> at;
  std::array<double, 4> weights;
};

/// The cubic kernel at a distance of at most 1, and of 1 to 2.
double near_kernel(double x) {
  return (1.25 * x - 2.25) * x * x + 1.0;
}
double far_kernel(double x) {
  return ((-0.75 * x + 3.75) * x - 6.0) * x + 3.0;
}

std::vector<CubicTaps> cubic_taps(std::int64_t from, std::int64_t to) {
  std::vector<CubicTaps> taps(static_cast<std::size_t>(to));
  for (std::int64_t i = 0; i < to; ++i) {
    const double position =
        (static_cast<double>(i) + 0.5) * static_cast<double>(from) / static_cast<double>(to) - 0.5;
    const double before = std::floor(position);
    const double t = position - before;
    CubicTaps& made = taps[static_cast<std::size_t>(i)];
    made.weights = {far_kernel(t + 1.0), near_kernel(t), near_kernel(1.0 - t), far_kernel(2.0 - t)};
    for (std::size_t k = 0; k < 4; ++k)
      made.at[k] = std::clamp<std::int64_t>(
          static_cast<std::int64_t>(before) - 1 + static_cast<std::int64_t>(k), 0, from - 1);
  }
  return taps;
}

constexpr float kTemperature = 10000.0f;

}  // namespace

void trunk_positions(const TensorView& background, const TensorView& window, std::int64_t size,
                     const TensorView& out) {
  const std::int64_t channels = background.dim(1), grid = background.dim(2), repeat = window.dim(2);
  const std::vector<CubicTaps> taps = cubic_taps(grid, size);
  std::vector<double> widened(static_cast<std::size_t>(grid * size));  // rows of one channel
  for (std::int64_t c = 0; c < channels; ++c) {
    const float* const plane = background.as<float>() + c * grid * grid;
    for (std::int64_t y = 0; y < grid; ++y)
      for (std::int64_t x = 0; x < size; ++x) {
        const CubicTaps& tap = taps[static_cast<std::size_t>(x)];
        double sum = 0.0;
        for (std::size_t k = 0; k < 4; ++k)
          sum += tap.weights[k] * static_cast<double>(plane[y * grid + tap.at[k]]);
        widened[static_cast<std::size_t>(y * size + x)] = sum;
      }
    const float* const repeated = window.as<float>() + c * repeat * repeat;
    for (std::int64_t y = 0; y < size; ++y)
      for (std::int64_t x = 0; x < size; ++x) {
        const CubicTaps& tap = taps[static_cast<std::size_t>(y)];
        double sum = 0.0;
        for (std::size_t k = 0; k < 4; ++k)
          sum += tap.weights[k] * widened[static_cast<std::size_t>(tap.at[k] * size + x)];
        out.as<float>()[(y * size + x) * channels + c] =
            static_cast<float>(sum) + repeated[y % repeat * repeat + x % repeat];
      }
  }
}

void sine_positions(std::int64_t size, const TensorView& out) {
  const std::int64_t half = out.dim(1) / 2;
  std::vector<float> table(static_cast<std::size_t>(size * half));  // of a row or column
  for (std::int64_t i = 0; i < size; ++i) {
    const float place =
        static_cast<float>(i + 1) / (static_cast<float>(size) + 1e-6f) * 2.0f * std::numbers::pi_v<float>;
    for (std::int64_t k = 0; k < half; ++k) {
      const std::int64_t pair = k - k % 2;
      const float length = std::pow(kTemperature, static_cast<float>(pair) / static_cast<float>(half));
      const float angle = place / length;
      table[static_cast<std::size_t>(i * half + k)] = k % 2 == 0 ? std::sin(angle) : std::cos(angle);
    }
  }
  for (std::int64_t y = 0; y < size; ++y)
    for (std::int64_t x = 0; x < size; ++x) {
      float* const to = out.as<float>() + (y * size + x) * 2 * half;
      std::copy_n(table.data() + y * half, half, to);
      std::copy_n(table.data() + x * half, half, to + half);
    }
}

void point_position(const TensorView& frequencies, float x, float y, std::span<float> out) {
  const std::int64_t half = frequencies.dim(1);
  const float* const along_x = frequencies.as<float>();
  const float* const along_y = along_x + half;
  for (std::int64_t k = 0; k < half; ++k) {
    const float turns = (2.0f * x - 1.0f) * along_x[k] + (2.0f * y - 1.0f) * along_y[k];
    const float angle = 2.0f * std::numbers::pi_v<float> * turns;
    out[static_cast<std::size_t>(k)] = std::sin(angle);
    out[static_cast<std::size_t>(half + k)] = std::cos(angle);
  }
}

void grid_positions(const TensorView& frequencies, std::int64_t size, const TensorView& out) {
  const auto middle = [&](std::int64_t i) {
    return (static_cast<float>(i) + 0.5f) / static_cast<float>(size);
  };
  const auto dim = static_cast<std::size_t>(out.dim(1));
  for (std::int64_t i = 0; i < size * size; ++i)
    point_position(frequencies, middle(i % size), middle(i / size),
                   {out.as<float>() + static_cast<std::size_t>(i) * dim, dim});
}

void rotary_table(std::int64_t size, const TensorView& out) {
  const std::int64_t pairs = out.dim(1), part = pairs / 2;
  for (std::int64_t i = 0; i < size * size; ++i)
    for (std::int64_t k = 0; k < pairs; ++k) {
      const float place = static_cast<float>(k < part ? i % size : i / size);
      const float exponent = static_cast<float>(4 * (k % part)) / static_cast<float>(2 * pairs);
      const float angle = place * (1.0f / std::pow(kTemperature, exponent));
      float* const to = out.as<float>() + (i * pairs + k) * 2;
      to[0] = std::cos(angle);
      to[1] = std::sin(angle);
    }
}

}  // namespace wan::sam2
