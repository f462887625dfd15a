// Products, convolutions, pooling, norms and resizing: what a device computes.

#include <algorithm>
#include <cmath>

#include "base/untrusted_text.h"
#include "onnx/operators_common.h"

namespace wan::onnx {

namespace {

using Dims = std::vector<std::int64_t>;

constexpr std::int64_t kMostPadding = std::int64_t{1} << 20;  // and elements of an axis that is resized

void check_f32(const Call& call) {
  for (std::size_t i = 0; i < call.inputs.size(); ++i)
    if (call.has(i))
      ONNX_CHECK(call.in(i).dtype == DType::kF32, "values of type {}; export the model in float32",
                 dtype_name(call.in(i).dtype));
}

std::vector<Known> infer_mat_mul(const Call& call) {
  check_f32(call);
  const Shape& a = call.shape(0);
  const Shape& b = call.shape(1);
  ONNX_CHECK(a.rank() > 0 && b.rank() > 0, "a factor without dimensions");
  const std::int64_t inner_b = b.rank() == 1 ? b[0] : b[-2];
  ONNX_CHECK(a[-1] == inner_b, "{} times {}", a.to_string(), b.to_string());
  const auto batch = [](const Shape& s) {
    Dims dims = dims_of(s);
    dims.resize(dims.size() >= 2 ? dims.size() - 2 : 0);
    return checked_shape(dims);
  };
  Dims dims = dims_of(broadcast(batch(a), batch(b)));
  if (a.rank() > 1) dims.push_back(a[-2]);
  if (b.rank() > 1) dims.push_back(b[-1]);
  return {{DType::kF32, checked_shape(dims), {}}};
}

std::vector<Known> infer_gemm(const Call& call) {
  check_f32(call);
  const Shape& a = call.shape(0);
  const Shape& b = call.shape(1);
  ONNX_CHECK(a.rank() == 2 && b.rank() == 2, "{} times {}", a.to_string(), b.to_string());
  const bool turn_a = call.node.integer("transA", 0) != 0;
  const bool turn_b = call.node.integer("transB", 0) != 0;
  ONNX_CHECK(a[turn_a ? 0 : 1] == b[turn_b ? 1 : 0], "{} times {}", a.to_string(), b.to_string());
  const Shape shape{a[turn_a ? 1 : 0], b[turn_b ? 0 : 1]};
  if (call.has(2))
    ONNX_CHECK(broadcast(call.shape(2), shape) == shape, "{} added to {}", call.shape(2).to_string(),
               shape.to_string());
  return {{DType::kF32, shape, {}}};
}

std::vector<Known> infer_conv(const Call& call) {
  check_f32(call);
  const Shape& x = call.shape(0);
  const Shape& w = call.shape(1);
  ONNX_CHECK(x.rank() == 4 && w.rank() == 4, "{} by {}: convolutions of pictures alone are known",
             x.to_string(), w.to_string());
  ONNX_CHECK(static_cast<bool>(call.in(1).constant), "weights that are no constant");
  const std::int64_t groups = call.node.integer("group", 1);
  ONNX_CHECK(
      groups >= 1 && groups <= x[1] && x[1] % groups == 0 && w[0] % groups == 0 && w[1] == x[1] / groups,
      "{} by {} in {} groups", x.to_string(), w.to_string(), groups);
  ONNX_CHECK(w.elements() > 0, "weights without elements");
  if (call.has(2))
    ONNX_CHECK(call.shape(2) == Shape{w[0]} && call.in(2).constant, "a bias {} for {} outputs",
               call.shape(2).to_string(), w[0]);
  const Window window = window_of(call, w[2], w[3], false);
  Dims dims{x[0], w[0]};
  for (int i = 0; i < 2; ++i) {
    const std::int64_t size = x[2 + i] + window.before[i] + window.after[i];
    const std::int64_t kernel = (window.kernel[i] - 1) * window.dilation[i] + 1;
    ONNX_CHECK(size >= kernel, "a kernel of {} for {} elements", kernel, size);
    dims.push_back((size - kernel) / window.stride[i] + 1);
  }
  return {{DType::kF32, checked_shape(dims), {}}};
}

std::vector<Known> infer_conv_transpose(const Call& call) {
  check_f32(call);
  const Shape& x = call.shape(0);
  const Shape& w = call.shape(1);  // [I, O / groups, h, w]
  ONNX_CHECK(x.rank() == 4 && w.rank() == 4, "{} by {}: convolutions of pictures alone are known",
             x.to_string(), w.to_string());
  ONNX_CHECK(static_cast<bool>(call.in(1).constant), "weights that are no constant");
  const std::int64_t groups = call.node.integer("group", 1);
  ONNX_CHECK(groups >= 1 && groups <= x[1] && x[1] % groups == 0 && w[0] == x[1], "{} by {} in {} groups",
             x.to_string(), w.to_string(), groups);
  ONNX_CHECK(w.elements() > 0, "weights without elements");
  const Shape outputs = checked_shape(Dims{w[1], groups});
  if (call.has(2))
    ONNX_CHECK(call.shape(2) == Shape{outputs.elements()} && call.in(2).constant, "a bias {} for {} outputs",
               call.shape(2).to_string(), outputs.elements());
  const Window window = window_of(call, w[2], w[3], true);
  Dims dims{x[0], outputs.elements()};
  for (int i = 0; i < 2; ++i) {
    ONNX_CHECK(window.dilation[i] == 1, "a dilation of {}", window.dilation[i]);
    const std::int64_t size = (x[2 + i] - 1) * window.stride[i] + window.kernel[i] + window.extra[i] -
                              window.before[i] - window.after[i];
    ONNX_CHECK(x[2 + i] > 0 && size > 0, "a result without pixels");
    dims.push_back(size);
  }
  return {{DType::kF32, checked_shape(dims), {}}};
}

std::vector<Known> infer_max_pool(const Call& call) {
  check_f32(call);
  const Shape& x = call.shape(0);
  const Dims kernel = call.node.integers("kernel_shape");
  ONNX_CHECK(x.rank() == 4 && kernel.size() == 2, "pooling of {}: pictures alone are known", x.to_string());
  ONNX_CHECK(call.node.outputs.size() == 1, "the maxima's indexes are not computed");
  const Window window = window_of(call, kernel[0], kernel[1], false);
  const bool ceil = call.node.integer("ceil_mode", 0) != 0;
  Dims dims{x[0], x[1]};
  for (int i = 0; i < 2; ++i) {
    const std::int64_t size = x[2 + i] + window.before[i] + window.after[i];
    const std::int64_t reach = (window.kernel[i] - 1) * window.dilation[i] + 1;
    ONNX_CHECK(size >= reach && window.before[i] < reach && window.after[i] < reach,
               "a window of {} for {} elements", reach, size);
    std::int64_t count = (size - reach + (ceil ? window.stride[i] - 1 : 0)) / window.stride[i] + 1;
    // No window begins behind the picture.
    if (ceil && (count - 1) * window.stride[i] >= x[2 + i] + window.before[i]) --count;
    dims.push_back(count);
  }
  return {{DType::kF32, checked_shape(dims), {}}};
}

std::vector<Known> infer_batch_norm(const Call& call) {
  check_f32(call);
  const Shape& x = call.shape(0);
  ONNX_CHECK(x.rank() >= 2, "an input {}", x.to_string());
  for (std::size_t i = 1; i < 5; ++i)
    ONNX_CHECK(call.shape(i) == Shape{x[1]} && call.in(i).constant, "statistics of {} for {} channels",
               call.shape(i).to_string(), x[1]);
  ONNX_CHECK(call.node.integer("training_mode", 0) == 0 && call.node.outputs.size() == 1,
             "statistics are those of training; export the model for inference");
  return {{DType::kF32, x, {}}};
}

std::vector<Known> infer_layer_norm(const Call& call) {
  check_f32(call);
  const Shape& x = call.shape(0);
  ONNX_CHECK(x.rank() > 0 && call.node.outputs.size() == 1, "further results are not computed");
  const int axis = axis_of(call.node.integer("axis", -1), x.rank());
  const Shape normed = checked_shape(x.extents().subspan(static_cast<std::size_t>(axis)));
  for (std::size_t i = 1; i < 3; ++i)
    if (call.has(i))
      ONNX_CHECK(call.shape(i).elements() == normed.elements(), "a weight {} for {}",
                 call.shape(i).to_string(), normed.to_string());
  ONNX_CHECK(call.has(1), "a weight is missing");
  return {{DType::kF32, x, {}}};
}

std::vector<Known> infer_global_average(const Call& call) {
  check_f32(call);
  Dims dims = dims_of(call.shape(0));
  ONNX_CHECK(dims.size() >= 3 && call.shape(0).elements() > 0, "an input {}", call.shape(0).to_string());
  std::fill(dims.begin() + 2, dims.end(), 1);
  return {{DType::kF32, checked_shape(dims), {}}};
}

std::vector<Known> infer_resize(const Call& call) {
  ONNX_CHECK(call.in(0).dtype == DType::kF32, "values of type {}; export the model in float32",
             dtype_name(call.in(0).dtype));
  Dims dims;
  for (const ResizeAxis& axis : resize_axes(call)) dims.push_back(axis.out);
  return {{DType::kF32, checked_shape(dims), {}}};
}

constexpr OperatorEntry kNetworkOperators[] = {
    {"BatchNormalization", {infer_batch_norm, nullptr}},
    {"Conv", {infer_conv, nullptr}},
    {"ConvTranspose", {infer_conv_transpose, nullptr}},
    {"Gemm", {infer_gemm, nullptr}},
    {"GlobalAveragePool", {infer_global_average, nullptr}},
    {"LayerNormalization", {infer_layer_norm, nullptr}},
    {"MatMul", {infer_mat_mul, nullptr}},
    {"MaxPool", {infer_max_pool, nullptr}},
    {"Resize", {infer_resize, nullptr}},
};

}  // namespace

std::span<const OperatorEntry> network_operators() {
  return kNetworkOperators;
}

Window window_of(const Call& call, std::int64_t kernel_height, std::int64_t kernel_width, bool transposed) {
  const Shape& x = call.shape(0);
  ONNX_CHECK(x.rank() == 4 && x[2] > 0 && x[3] > 0, "an input {}", x.to_string());
  const auto two = [&](const char* attribute, std::int64_t otherwise) {
    const Dims given = call.node.integers(attribute);
    ONNX_CHECK(given.empty() || given.size() == 2, "{} {} for two axes", given.size(), attribute);
    return given.empty() ? Dims{otherwise, otherwise} : given;
  };
  const Dims kernel{kernel_height, kernel_width};
  const Dims declared = call.node.integers("kernel_shape");
  ONNX_CHECK(declared.empty() || declared == kernel, "a kernel_shape that is not the weights'");
  const Dims stride = two("strides", 1);
  const Dims dilation = two("dilations", 1);
  const Dims extra = two("output_padding", 0);
  Dims pads = call.node.integers("pads");
  ONNX_CHECK(pads.empty() || pads.size() == 4, "{} pads for two axes", pads.size());
  pads.resize(4);
  const std::string automatic = call.node.text("auto_pad", "NOTSET");
  const Dims wanted = transposed ? call.node.integers("output_shape") : Dims();
  ONNX_CHECK(wanted.empty(), "an output_shape; export the model with pads");
  Window window{};
  for (std::size_t i = 0; i < 2; ++i) {
    ONNX_CHECK(kernel[i] >= 1 && kernel[i] <= 4096 && stride[i] >= 1 && stride[i] <= 65536 &&
                   dilation[i] >= 1 && dilation[i] <= 4096,
               "a kernel of {}, a stride of {}, a dilation of {}", kernel[i], stride[i], dilation[i]);
    ONNX_CHECK(extra[i] >= 0 && extra[i] < std::max(stride[i], dilation[i]), "an output_padding of {}",
               extra[i]);
    window.kernel[i] = kernel[i];
    window.stride[i] = stride[i];
    window.dilation[i] = dilation[i];
    window.extra[i] = extra[i];
    const std::int64_t size = x[2 + static_cast<int>(i)];
    const std::int64_t reach = (kernel[i] - 1) * dilation[i] + 1;
    if (automatic == "SAME_UPPER" || automatic == "SAME_LOWER") {
      ONNX_CHECK(!transposed && size > 0, "an auto_pad of {}; export the model with pads",
                 quote_name(automatic));
      const std::int64_t count = (size + stride[i] - 1) / stride[i];
      const std::int64_t missing = std::max<std::int64_t>(0, (count - 1) * stride[i] + reach - size);
      pads[i] = automatic == "SAME_UPPER" ? missing / 2 : missing - missing / 2;
      pads[i + 2] = missing - pads[i];
    } else {
      ONNX_CHECK(automatic == "NOTSET" || automatic == "VALID", "an auto_pad of {}", quote_name(automatic));
      if (automatic == "VALID") pads[i] = pads[i + 2] = 0;
    }
    ONNX_CHECK(pads[i] >= 0 && pads[i] <= kMostPadding && pads[i + 2] >= 0 && pads[i + 2] <= kMostPadding,
               "pads of {} and {}", pads[i], pads[i + 2]);
    window.before[i] = pads[i];
    window.after[i] = pads[i + 2];
  }
  return window;
}

std::vector<ResizeAxis> resize_axes(const Call& call) {
  const Shape& x = call.shape(0);
  const std::string mode = call.node.text("mode", "nearest");
  const std::string place = call.node.text("coordinate_transformation_mode", "half_pixel");
  const std::string nearest = call.node.text("nearest_mode", "round_prefer_floor");
  ONNX_CHECK(mode == "nearest" || mode == "linear", "a mode of {}", quote_name(mode));
  ONNX_CHECK(place == "half_pixel" || place == "pytorch_half_pixel" || place == "asymmetric" ||
                 place == "align_corners",
             "a coordinate_transformation_mode of {}", quote_name(place));
  ONNX_CHECK(call.node.integer("antialias", 0) == 0 &&
                 call.node.text("keep_aspect_ratio_policy", "stretch") == "stretch",
             "antialiasing, or an aspect ratio that is kept");
  const auto rank = static_cast<std::size_t>(x.rank());
  std::vector<std::size_t> axes;
  for (const std::int64_t axis : call.node.integers("axes"))
    axes.push_back(static_cast<std::size_t>(axis_of(axis, x.rank())));
  if (axes.empty())
    for (std::size_t i = 0; i < rank; ++i) axes.push_back(i);
  std::vector<double> scales;
  if (call.has(2) && call.shape(2).elements() > 0) {
    ONNX_CHECK(call.in(2).constant && call.in(2).dtype == DType::kF32, "scales that are no constant");
    const HostTensor given = call.in(2).constant.aligned();
    for (std::int64_t i = 0; i < given.elements(); ++i)
      scales.push_back(static_cast<double>(given.as<float>()[i]));
  }
  const Dims sizes = call.has(3) ? call.integers(3) : Dims();
  ONNX_CHECK(scales.empty() != sizes.empty() && scales.size() + sizes.size() == axes.size(),
             "{} scales and {} sizes for {} axes", scales.size(), sizes.size(), axes.size());
  std::vector<ResizeAxis> made(rank);
  std::vector<double> scale(rank, 1.0);
  for (std::size_t i = 0; i < rank; ++i) made[i].in = made[i].out = x[static_cast<int>(i)];
  for (std::size_t k = 0; k < axes.size(); ++k) {
    ResizeAxis& axis = made[axes[k]];
    if (sizes.empty()) {
      ONNX_CHECK(scales[k] > 0.0 && scales[k] <= 65536.0, "a scale of {}", scales[k]);
      axis.out = static_cast<std::int64_t>(std::floor(static_cast<double>(axis.in) * scales[k]));
      scale[axes[k]] = scales[k];
    } else {
      axis.out = sizes[k];
      scale[axes[k]] = axis.in > 0 ? static_cast<double>(axis.out) / static_cast<double>(axis.in) : 1.0;
    }
    ONNX_CHECK(axis.in > 0 && axis.out > 0 && axis.out <= kMostPadding, "{} elements from {}", axis.out,
               axis.in);
  }
  for (std::size_t i = 0; i < rank; ++i) {
    ResizeAxis& axis = made[i];
    if (axis.in == axis.out && scale[i] == 1.0) continue;
    for (std::int64_t o = 0; o < axis.out; ++o) {
      const auto at = static_cast<double>(o);
      double from = at / scale[i];
      if (place == "half_pixel" || (place == "pytorch_half_pixel" && axis.out > 1))
        from = (at + 0.5) / scale[i] - 0.5;
      else if (place == "pytorch_half_pixel")
        from = 0.0;
      else if (place == "align_corners")
        from = axis.out > 1 ? at * static_cast<double>(axis.in - 1) / static_cast<double>(axis.out - 1) : 0.0;
      const auto last = static_cast<double>(axis.in - 1);
      if (mode == "nearest") {
        const double below = std::floor(from);
        double chosen = below;
        if (nearest == "round_prefer_floor")
          chosen = from - below <= 0.5 ? below : below + 1.0;
        else if (nearest == "round_prefer_ceil")
          chosen = from - below < 0.5 ? below : below + 1.0;
        else if (nearest == "ceil")
          chosen = std::ceil(from);
        else
          ONNX_CHECK(nearest == "floor", "a nearest_mode of {}", quote_name(nearest));
        axis.first.push_back(static_cast<std::int64_t>(std::clamp(chosen, 0.0, last)));
      } else {
        const double inside = std::clamp(from, 0.0, last);
        const double below = std::min(std::floor(inside), std::max(last - 1.0, 0.0));
        axis.first.push_back(static_cast<std::int64_t>(below));
        axis.weight.push_back(static_cast<float>(inside - below));
      }
    }
  }
  return made;
}

}  // namespace wan::onnx
