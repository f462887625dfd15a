#include "models/wan/animate/motion_encoder.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "models/wan/animate/orthonormal.h"
#include "ops/activation.h"
#include "ops/backend.h"
#include "ops/conv3d.h"
#include "ops/linear.h"

namespace wan {

namespace {

using enum WeightDType;

constexpr double kActivationGain =
    std::numbers::sqrt2;  // after a bias; one with the weights, as is the activation's slope
constexpr std::int64_t kBlurTaps = 4;
constexpr std::int64_t kLargestLayer = std::int64_t{1} << 25;  // values
constexpr float kAddedToDirections = 1e-8f;

/// weight * gain, [out, in, k, k] -> [out, 1, k, k, in]; of a linear layer [out, in] as it is. Empty where the checkpoint has none.
Tensor load_kernel(const WeightScope& weights, const char* name, const Shape& shape, double gain) {
  const Tensor stored = weights.on_host().load(name, shape, kFloat32);
  if (stored.empty()) return {};
  const bool is_linear = shape.rank() == 2;
  const std::int64_t out = shape[0], in = shape[1], area = is_linear ? 1 : shape[2] * shape[3];
  const Shape layout = is_linear ? shape : Shape{out, 1, shape[2], shape[3], in};
  return weights.make(DType::kF32, layout, [&](const TensorView& made) {
    for (std::int64_t o = 0; o < out; ++o)
      for (std::int64_t i = 0; i < in; ++i)
        for (std::int64_t at = 0; at < area; ++at)
          made.as<float>()[(o * area + at) * in + i] =
              static_cast<float>(static_cast<double>(stored.as<float>()[(o * in + i) * area + at]) * gain);
  });
}

/// A blur and a convolution with stride are one convolution, whose kernel is the one's over the other's: [out, in, k, k] ->
/// [out, 1, k + 3, k + 3, in].
Tensor load_blurred_kernel(const WeightScope& weights, const char* blur_name, const char* name,
                           const Shape& shape, double gain) {
  const WeightScope host = weights.on_host();
  const Tensor stored = host.load(name, shape, kFloat32);
  const Tensor blur = host.load(blur_name, {kBlurTaps, kBlurTaps}, kFloat32);
  if (stored.empty() || blur.empty()) return {};
  const std::int64_t out = shape[0], in = shape[1], taps = shape[2], size = taps + kBlurTaps - 1;
  return weights.make(DType::kF32, {out, 1, size, size, in}, [&](const TensorView& made) {
    std::vector<double> sum(static_cast<std::size_t>(size * size));
    for (std::int64_t o = 0; o < out; ++o)
      for (std::int64_t i = 0; i < in; ++i) {
        std::fill(sum.begin(), sum.end(), 0.0);
        const float* const kernel = stored.as<float>() + (o * in + i) * taps * taps;
        for (std::int64_t at = 0; at < taps * taps; ++at)
          for (std::int64_t b = 0; b < kBlurTaps * kBlurTaps; ++b) {
            // The blur is a true convolution: its kernel is turned round.
            const double blurred = static_cast<double>(blur.as<float>()[kBlurTaps * kBlurTaps - 1 - b]);
            const std::int64_t y = at / taps + b / kBlurTaps, x = at % taps + b % kBlurTaps;
            sum[static_cast<std::size_t>(y * size + x)] += static_cast<double>(kernel[at]) * blurred;
          }
        for (std::int64_t at = 0; at < size * size; ++at)
          made.as<float>()[(o * size * size + at) * in + i] =
              static_cast<float>(sum[static_cast<std::size_t>(at)] * gain);
      }
  });
}

/// A vector times `gain`; stored with any dimensions of one round it.
Tensor load_vector(const WeightScope& weights, const char* name, const Shape& shape, double gain) {
  const Tensor stored = weights.on_host().load(name, shape, kFloat32);
  if (stored.empty()) return {};
  const std::int64_t count = shape.elements();
  return weights.make(DType::kF32, {count}, [&](const TensorView& made) {
    for (std::int64_t i = 0; i < count; ++i)
      made.as<float>()[i] = static_cast<float>(static_cast<double>(stored.as<float>()[i]) * gain);
  });
}

/// What the official layers multiply weights by, so that their products keep the variance of what they are given.
double equalizing(std::int64_t in, std::int64_t taps = 1) {
  return 1.0 / std::sqrt(static_cast<double>(in * taps * taps));
}

void convolve(ExecContext& ctx, const TensorView& x, const TensorView& weight, const TensorView& bias,
              int stride, int padding, const TensorView& residual, const TensorView& out) {
  conv3d(ctx, {.x = x,
               .weight = weight,
               .bias = bias,
               .stride = {1, stride, stride},
               .padding = {padding, padding, padding, padding},
               .residual = residual,
               .out = out});
}

void activate(ExecContext& ctx, const TensorView& x) {
  activation(ctx, {.x = x, .kind = ActivationKind::kLeakyReLU, .out = x});
}

}  // namespace

MotionEncoder::Level MotionEncoder::load_level(const WeightScope& weights, std::int64_t in,
                                               std::int64_t out) {
  const double gain = equalizing(in, 3);
  // The sum of both ways is divided by the square root of 2, which is the gain of one way's activation.
  return {.in = {load_kernel(weights, "conv1.0.weight", {in, in, 3, 3}, gain * kActivationGain),
                 load_vector(weights, "conv1.1.bias", {1, in, 1, 1}, kActivationGain)},
          .half = {load_blurred_kernel(weights, "conv2.0.kernel", "conv2.1.weight", {out, in, 3, 3}, gain),
                   load_vector(weights, "conv2.2.bias", {1, out, 1, 1}, 1.0)},
          .skip = {load_blurred_kernel(weights, "skip.0.kernel", "skip.1.weight", {out, in, 1, 1},
                                       equalizing(in) / std::numbers::sqrt2),
                   {}}};
}

MotionEncoder::MotionEncoder(const AnimateConfig& config, const WeightScope& weights, std::string tap_prefix)
    : config_(config), tap_prefix_(std::move(tap_prefix)) {
  const WeightScope pictures = weights.child("enc.net_app.convs");
  const std::vector<std::int64_t>& channels = config.face_channels;
  first_ = {load_kernel(pictures, "0.0.weight", {channels[0], 3, 1, 1}, equalizing(3) * kActivationGain),
            load_vector(pictures, "0.1.bias", {1, channels[0], 1, 1}, kActivationGain)};
  for (std::size_t i = 1; i < channels.size(); ++i)
    levels_.push_back(load_level(pictures.child(std::to_string(i)), channels[i - 1], channels[i]));
  const std::string last = std::to_string(channels.size()) + ".weight";
  last_.weight = load_kernel(pictures, last.c_str(), {config.motion_dim, channels.back(), 4, 4},
                             equalizing(channels.back(), 4));
  for (int i = 0; i < config.motion_layers; ++i) {
    const bool is_last = i + 1 == config.motion_layers;
    const std::int64_t out = is_last ? config.motion_directions : config.motion_dim;
    const WeightScope linear = weights.child("enc.fc." + std::to_string(i));
    linears_.push_back(
        {load_kernel(linear, "weight", {out, config.motion_dim}, equalizing(config.motion_dim)),
         load_vector(linear, "bias", {out}, 1.0)});
  }
  const Tensor stored =
      weights.on_host().load("dec.direction.weight", {config.motion_dim, config.motion_directions}, kFloat32);
  directions_ =
      weights.make(DType::kF32, {config.motion_dim, config.motion_directions}, [&](const TensorView& made) {
        const Tensor columns(DType::kF32, made.shape());
        for (std::int64_t i = 0; i < columns.elements(); ++i)
          columns.as<float>()[i] = stored.as<float>()[i] + kAddedToDirections;
        orthonormalize(columns, made);
      });
}

std::int64_t MotionEncoder::most_faces() const {
  const std::int64_t size = config_.face_size();
  return std::max<std::int64_t>(1, kLargestLayer / (size * size * config_.face_channels[0]));
}

void MotionEncoder::run_level(ExecContext& ctx, const Level& level, const TensorView& x,
                              const TensorView& out) const {
  const Workspace::Scope scope(ctx.workspace);
  const TensorView inner = ctx.workspace.take(DType::kF32, x.shape());
  convolve(ctx, x, level.in.weight, level.in.bias, 1, 1, {}, inner);
  activate(ctx, inner);
  convolve(ctx, inner, level.half.weight, level.half.bias, 2, 2, {}, out);
  activate(ctx, out);
  convolve(ctx, x, level.skip.weight, {}, 2, 1, out, out);
}

void MotionEncoder::encode(ExecContext& ctx, const TensorView& faces, const TensorView& motion) const {
  const Workspace::Scope scope(ctx.workspace);
  const std::string name = tap_prefix_ + "enc.net_app.convs.";
  const auto take = [&](std::int64_t size, std::int64_t channels) {
    return ctx.workspace.take(DType::kF32, {faces.dim(0), size, size, channels});
  };
  std::int64_t size = faces.dim(1);
  WAN_CHECK(size == config_.face_size() && faces.dim(2) == size && faces.dim(3) == 3, kInvalidArgument,
            "the face encoder takes pictures of {0} x {0}, got {1}", config_.face_size(),
            faces.shape().to_string());
  ctx.enter(name + "0");
  TensorView x = take(size, config_.face_channels[0]);
  convolve(ctx, faces, first_.weight, first_.bias, 1, 0, {}, x);
  activate(ctx, x);
  ctx.tap(name + "0", x);
  for (std::size_t i = 0; i < levels_.size(); ++i) {
    const std::string level = name + std::to_string(i + 1);
    ctx.enter(level);
    size /= 2;
    const TensorView out = take(size, config_.face_channels[i + 1]);
    run_level(ctx, levels_[i], x, out);
    ctx.tap(level, out);
    x = out;
  }
  const std::string last = name + std::to_string(levels_.size() + 1);
  ctx.enter(last);
  const TensorView whole = take(1, config_.motion_dim);
  convolve(ctx, x, last_.weight, {}, 1, 0, {}, whole);
  TensorView rows = whole.reshape({faces.dim(0), config_.motion_dim});
  ctx.tap(last, rows);
  ctx.enter(tap_prefix_ + "enc.fc");
  for (const Convolution& layer : linears_) {
    const std::int64_t width = layer.weight.dim(0);
    const TensorView out = ctx.workspace.take(DType::kF32, {faces.dim(0), width});
    linear(ctx, {.x = rows, .weight = layer.weight, .bias = layer.bias, .out = out});
    rows = out;
  }
  ctx.tap(tap_prefix_ + "enc.fc", rows);
  linear(ctx, {.x = rows, .weight = directions_, .bias = {}, .out = motion});
  ctx.tap(tap_prefix_ + "dec.direction", motion);
}

}  // namespace wan
