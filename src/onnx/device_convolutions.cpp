// Convolutions and pooling on the device, channels last.

#include <algorithm>
#include <limits>

#include "onnx/device_nodes.h"
#include "ops/conv3d.h"
#include "ops/copy.h"
#include "ops/depthwise_conv.h"

namespace wan::onnx {

namespace {

constexpr std::int64_t kMostGroups = 1024;  // each is a product of its own

/// Kernels [O, 1, kh, kw, I] of outputs [first, end) from [O, I, kh, kw], with zeros between their taps where they are dilated.
HostTensor spread_kernels(const HostTensor& weight, std::int64_t first, std::int64_t end,
                          const Window& window) {
  const HostTensor from = weight.aligned();
  const Shape& shape = weight.shape();
  const std::int64_t height = (window.kernel[0] - 1) * window.dilation[0] + 1;
  const std::int64_t width = (window.kernel[1] - 1) * window.dilation[1] + 1;
  const std::int64_t inputs = shape[1];
  HostTensor made(DType::kF32, {end - first, 1, height, width, inputs});
  float* to = made.fill<float>();
  const float* source = from.as<float>() + first * inputs * window.kernel[0] * window.kernel[1];
  for (std::int64_t o = 0; o < end - first; ++o)
    for (std::int64_t i = 0; i < inputs; ++i)
      for (std::int64_t b = 0; b < window.kernel[0]; ++b)
        for (std::int64_t a = 0; a < window.kernel[1]; ++a)
          to[((o * height + b * window.dilation[0]) * width + a * window.dilation[1]) * inputs + i] =
              *source++;
  return made;
}

SpatialPadding padding_of(const Window& window) {
  return {.top = static_cast<int>(window.before[0]),
          .bottom = static_cast<int>(window.after[0]),
          .left = static_cast<int>(window.before[1]),
          .right = static_cast<int>(window.after[1])};
}

void emit_conv(Builder& builder, const Placed& x, const Placed& weight, const Placed& bias,
               const Window& window, const Placed& out) {
  builder.emit({x, weight, bias, out}, [=](Running& run) {
    conv3d(run.ctx, {.x = run(x),
                     .weight = run(weight),
                     .bias = run(bias),
                     .stride = {1, static_cast<int>(window.stride[0]), static_cast<int>(window.stride[1])},
                     .padding = padding_of(window),
                     .residual = {},
                     .out = run(out)});
  });
}

/// A function on frames, in place.
void finish(Builder& builder, const Node& node, const Placed& frames) {
  if (const auto function = fused_function(node))
    builder.emit({frames}, [=](Running& run) { run_function(run.ctx, *function, run(frames), run(frames)); });
  builder.define(node.outputs[0], Builder::picture(frames));
}

Placed take_frames(Builder& builder, const Shape& picture) {
  return builder.take({picture[0], picture[2], picture[3], picture[1]});
}

void build_depthwise(Builder& builder, const Node& node, const Window& window, const Placed& x,
                     const Placed& out) {
  const std::int64_t height = window.kernel[0];
  const std::int64_t width = window.kernel[1];
  const Placed weight = builder.weight(node.inputs[1], "[kh, kw, C]", [&](const TensorView& view) {
    return view.select(1, 0).permute({1, 2, 0});
  });
  const Placed bias = node.has_input(2) ? builder.device(node.inputs[2]) : Placed();
  WAN_ASSERT(weight.view.dim(0) == height && weight.view.dim(1) == width);
  builder.emit({x, weight, bias, out}, [=](Running& run) {
    depthwise_conv(run.ctx,
                   {.x = run(x),
                    .weight = run(weight),
                    .bias = run(bias),
                    .stride = {static_cast<int>(window.stride[0]), static_cast<int>(window.stride[1])},
                    .dilation = {static_cast<int>(window.dilation[0]), static_cast<int>(window.dilation[1])},
                    .padding = padding_of(window),
                    .out = run(out)});
  });
}

void build_conv(Builder& builder, const Node& node) {
  const Call call = builder.call(node);
  const Shape& kernels = call.shape(1);
  const Window window = window_of(call, kernels[2], kernels[3], false);
  const std::int64_t groups = node.integer("group", 1);
  const Placed x = builder.frames(builder.device(node.inputs[0]));
  const Placed out = take_frames(builder, builder.known(node.outputs[0]).shape);
  if (groups == x.view.dim(3) && kernels[0] == groups && groups > 1) {
    build_depthwise(builder, node, window, x, out);
    return finish(builder, node, out);
  }
  const Placed bias = node.has_input(2) ? builder.device(node.inputs[2]) : Placed();
  if (groups == 1 && window.dilation[0] == 1 && window.dilation[1] == 1) {
    const Placed weight = builder.weight(node.inputs[1], "[O, 1, kh, kw, I]", [](const TensorView& view) {
      return view.permute({0, 2, 3, 1});
    });
    const Shape shape{kernels[0], 1, kernels[2], kernels[3], kernels[1]};
    emit_conv(builder, x, {weight.storage, weight.view.reshape(shape)}, bias, window, out);
    return finish(builder, node, out);
  }
  ONNX_CHECK(groups <= kMostGroups, "{} groups", groups);
  const std::int64_t outputs = kernels[0] / groups;
  const std::int64_t inputs = kernels[1];
  for (std::int64_t g = 0; g < groups; ++g) {
    const Placed weight = builder.made_weight(
        node.inputs[1],
        fmt::format("group {} of {}, dilated {} {}", g, groups, window.dilation[0], window.dilation[1]),
        [&] { return spread_kernels(call.in(1).constant, g * outputs, (g + 1) * outputs, window); });
    const Placed part = builder.contiguous({x.storage, x.view.slice(3, g * inputs, (g + 1) * inputs)});
    const Placed part_bias =
        bias ? Placed{bias.storage, bias.view.slice(0, g * outputs, (g + 1) * outputs)} : Placed();
    const TensorView wanted = out.view.slice(3, g * outputs, (g + 1) * outputs);
    const Placed result = groups == 1 ? out : builder.take(wanted.shape());
    emit_conv(builder, part, weight, part_bias, window, result);
    if (groups > 1) builder.copy_to(result, {out.storage, wanted});
  }
  finish(builder, node, out);
}

/// Along one axis, the pixels of a transposed convolution's result that are `phase` after a multiple of its stride: a convolution of x
/// with every stride-th tap, in reverse.
struct Phase {
  std::int64_t taps = 0;               // 0: none but the bias
  std::int64_t first_tap = 0;          // of the kernel, the smallest
  std::int64_t begin = 0, end = 0;     // of x's elements, those that are taken
  std::int64_t before = 0, after = 0;  // zeros round them
  std::int64_t count = 0;              // pixels
};

Phase phase_of(const Window& window, int axis, std::int64_t phase, std::int64_t in, std::int64_t out) {
  Phase made;
  const std::int64_t stride = window.stride[axis];
  made.count = out > phase ? (out - phase - 1) / stride + 1 : 0;
  // result[q stride + phase] = sum_j x[q + shift - j] w[first_tap + j stride]
  made.first_tap = (phase + window.before[axis]) % stride;
  const std::int64_t shift = (phase + window.before[axis]) / stride;
  if (made.first_tap >= window.kernel[axis] || made.count == 0) return made;
  made.taps = (window.kernel[axis] - made.first_tap - 1) / stride + 1;
  // The first and the last element that is read, from outside of x too.
  const std::int64_t low = shift - (made.taps - 1);
  const std::int64_t high = made.count - 1 + shift;
  made.begin = std::clamp<std::int64_t>(low, 0, in);
  made.end = std::clamp<std::int64_t>(high + 1, made.begin, in);
  made.before = std::max<std::int64_t>(0, -low);
  made.after = std::max<std::int64_t>(0, high + 1 - in);
  return made;
}

/// Kernels [O, 1, taps, taps, I] from a group's [I, O, kh, kw].
HostTensor phase_kernels(const HostTensor& weight, std::int64_t first_input, std::int64_t inputs,
                         const Window& window, const Phase& down, const Phase& across) {
  const HostTensor from = weight.aligned();
  const std::int64_t outputs = weight.shape()[1];
  HostTensor made(DType::kF32, {outputs, 1, down.taps, across.taps, inputs});
  for (std::int64_t o = 0; o < outputs; ++o)
    for (std::int64_t b = 0; b < down.taps; ++b)
      for (std::int64_t a = 0; a < across.taps; ++a)
        for (std::int64_t i = 0; i < inputs; ++i) {
          const std::int64_t y = down.first_tap + (down.taps - 1 - b) * window.stride[0];
          const std::int64_t x = across.first_tap + (across.taps - 1 - a) * window.stride[1];
          made.fill<float>()[((o * down.taps + b) * across.taps + a) * inputs + i] =
              from.as<float>()[(((first_input + i) * outputs + o) * window.kernel[0] + y) * window.kernel[1] +
                               x];
        }
  return made;
}

/// Every stride-th pixel of frames, from (y, x) on.
TensorView every(const TensorView& frames, const Window& window, std::int64_t y, std::int64_t x,
                 std::int64_t rows, std::int64_t columns) {
  const TensorView from = frames.slice(1, y, frames.dim(1)).slice(2, x, frames.dim(2));
  return {from.data(), from.dtype(), Shape{from.dim(0), rows, columns, from.dim(3)},
          Shape{from.stride(0), from.stride(1) * window.stride[0], from.stride(2) * window.stride[1],
                from.stride(3)},
          from.device()};
}

void build_conv_transpose(Builder& builder, const Node& node) {
  const Call call = builder.call(node);
  const Shape& kernels = call.shape(1);
  const Window window = window_of(call, kernels[2], kernels[3], true);
  ONNX_CHECK(window.stride[0] * window.stride[1] <= 64, "a stride of {} by {}", window.stride[0],
             window.stride[1]);
  const std::int64_t groups = node.integer("group", 1);
  ONNX_CHECK(groups <= kMostGroups, "{} groups", groups);
  const std::int64_t inputs = kernels[0] / groups;
  const std::int64_t outputs = kernels[1];
  const Placed x = builder.frames(builder.device(node.inputs[0]));
  const Placed out = take_frames(builder, builder.known(node.outputs[0]).shape);
  const Placed bias = node.has_input(2) ? builder.device(node.inputs[2])
                                        : builder.made_weight(node.inputs[1], "no bias", [&] {
                                            return HostTensor(DType::kF32, {outputs * groups});
                                          });
  for (std::int64_t g = 0; g < groups; ++g)
    for (std::int64_t py = 0; py < window.stride[0]; ++py)
      for (std::int64_t px = 0; px < window.stride[1]; ++px) {
        const Phase down = phase_of(window, 0, py, x.view.dim(1), out.view.dim(1));
        const Phase across = phase_of(window, 1, px, x.view.dim(2), out.view.dim(2));
        if (down.count == 0 || across.count == 0) continue;
        const TensorView channels = out.view.slice(3, g * outputs, (g + 1) * outputs);
        const Placed wanted{out.storage, every(channels, window, py, px, down.count, across.count)};
        const Placed part_bias{bias.storage, bias.view.slice(0, g * outputs, (g + 1) * outputs)};
        if (down.taps == 0 || across.taps == 0 || down.begin == down.end || across.begin == across.end) {
          builder.copy_to({part_bias.storage, broadcast_view(part_bias.view, wanted.view.shape())}, wanted);
          continue;
        }
        const Placed weight = builder.made_weight(
            node.inputs[1], fmt::format("phase {} {} of group {} of {}", py, px, g, node.outputs[0]),
            [&] { return phase_kernels(call.in(1).constant, g * inputs, inputs, window, down, across); });
        const Placed part = builder.contiguous({x.storage, x.view.slice(1, down.begin, down.end)
                                                               .slice(2, across.begin, across.end)
                                                               .slice(3, g * inputs, (g + 1) * inputs)});
        const Placed result = builder.take(wanted.view.shape());
        Window phase{};
        for (std::size_t i = 0; i < 2; ++i) {
          phase.stride[i] = 1;
          phase.before[i] = (i == 0 ? down : across).before;
          phase.after[i] = (i == 0 ? down : across).after;
        }
        emit_conv(builder, part, weight, part_bias, phase, result);
        builder.copy_to(result, wanted);
      }
  finish(builder, node, out);
}

/// The largest along one axis of frames: the taps one after the other.
Placed pool_axis(Builder& builder, const Placed& x, const Window& window, int axis, std::int64_t count) {
  const int at = axis + 1;
  std::vector<std::int64_t> dims = dims_of(x.view.shape());
  dims[static_cast<std::size_t>(at)] = count;
  const Placed out = builder.take(Shape(dims));
  const Placed lowest = builder.own_weight("the lowest number", [] {
    HostTensor made(DType::kF32, Shape{1});
    *made.fill<float>() = std::numeric_limits<float>::lowest();
    return made;
  });
  builder.copy_to({lowest.storage, broadcast_view(lowest.view, out.view.shape())}, out);
  const std::int64_t size = x.view.dim(at);
  const std::int64_t stride = window.stride[axis];
  for (std::int64_t tap = 0; tap < window.kernel[axis]; ++tap) {
    // Results [first, last] have this tap inside of the picture.
    const std::int64_t shift = tap * window.dilation[axis] - window.before[axis];
    const std::int64_t first = shift < 0 ? (-shift + stride - 1) / stride : 0;
    const std::int64_t last = std::min(count - 1, shift < size ? (size - 1 - shift) / stride : -1);
    if (first > last) continue;
    const std::int64_t begin = first * stride + shift;
    const TensorView from = x.view.slice(at, begin, begin + (last - first) * stride + 1);
    std::vector<std::int64_t> part = dims_of(from.shape());
    std::vector<std::int64_t> strides = dims_of(from.strides());
    part[static_cast<std::size_t>(at)] = last - first + 1;
    strides[static_cast<std::size_t>(at)] *= stride;
    const Placed taken{x.storage,
                       TensorView(from.data(), from.dtype(), Shape(part), Shape(strides), from.device())};
    const Placed to{out.storage, out.view.slice(at, first, last + 1)};
    builder.emit({taken, to}, [=](Running& run) {
      pointwise(run.ctx, {.kind = PointwiseKind::kMax, .x = run(to), .y = run(taken), .out = run(to)});
    });
  }
  return out;
}

void build_max_pool(Builder& builder, const Node& node) {
  const std::vector<std::int64_t> kernel = node.integers("kernel_shape");
  const Window window = window_of(builder.call(node), kernel[0], kernel[1], false);
  const Shape& shape = builder.known(node.outputs[0]).shape;
  const Placed x = builder.frames(builder.device(node.inputs[0]));
  const Placed rows = pool_axis(builder, x, window, 0, shape[2]);
  builder.define(node.outputs[0], Builder::picture(pool_axis(builder, rows, window, 1, shape[3])));
}

constexpr DeviceEntry kDeviceConvolutions[] = {
    {"Conv", build_conv},
    {"ConvTranspose", build_conv_transpose},
    {"MaxPool", build_max_pool},
};

}  // namespace

std::span<const DeviceEntry> device_convolutions() {
  return kDeviceConvolutions;
}

}  // namespace wan::onnx
