// Operators on each element, with broadcasting.

#include <algorithm>
#include <cmath>
#include <limits>

#include "onnx/operators_common.h"
#include "onnx/tensor_reader.h"

namespace wan::onnx {

namespace {

std::vector<Known> infer_same(const Call& call) {
  return {{call.in(0).dtype, call.shape(0), {}}};
}

/// Two inputs of one dtype.
Known infer_pair(const Call& call) {
  const Known& a = call.in(0);
  const Known& b = call.in(1);
  ONNX_CHECK(a.dtype == b.dtype, "inputs of two types, {} and {}", dtype_name(a.dtype), dtype_name(b.dtype));
  ONNX_CHECK(call.inputs.size() == 2, "{} inputs; two are known", call.inputs.size());
  return {a.dtype, broadcast(a.shape, b.shape), {}};
}

std::vector<Known> infer_binary(const Call& call) {
  return {infer_pair(call)};
}

std::vector<Known> infer_comparison(const Call& call) {
  Known made = infer_pair(call);
  made.dtype = DType::kBool;
  return {made};
}

std::vector<Known> infer_where(const Call& call) {
  ONNX_CHECK(call.in(0).dtype == DType::kBool, "a condition of type {}", dtype_name(call.in(0).dtype));
  ONNX_CHECK(call.in(1).dtype == call.in(2).dtype, "choices of two types");
  return {{call.in(1).dtype, broadcast(broadcast(call.shape(0), call.shape(1)), call.shape(2)), {}}};
}

std::vector<Known> infer_cast(const Call& call) {
  ONNX_CHECK(call.node.has("to"), "it does not say which type is wanted");
  return {{dtype_of_onnx(call.node.integer("to", 0), "Cast"), call.shape(0), {}}};
}

/// A result for each output, of which some operators have one that nobody takes.
std::vector<Known> infer_dropout(const Call& call) {
  ONNX_CHECK(!call.has(2) || (call.in(2).constant && call.number(2) == 0.0),
             "it is to drop values, as in training");
  std::vector<Known> made = infer_same(call);
  made.resize(call.node.outputs.size(), {DType::kBool, call.shape(0), {}});
  return made;
}

// Integers wrap around.
template <typename T, typename F>
T wrapping(T a, T b, F f) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<T>(f(static_cast<std::uint64_t>(a), static_cast<std::uint64_t>(b)));
  else
    return f(a, b);
}

struct AddOf {
  template <typename T>
  T operator()(T a, T b) const {
    return wrapping(a, b, [](auto x, auto y) { return x + y; });
  }
};
struct SubOf {
  template <typename T>
  T operator()(T a, T b) const {
    return wrapping(a, b, [](auto x, auto y) { return x - y; });
  }
};
struct MulOf {
  template <typename T>
  T operator()(T a, T b) const {
    return wrapping(a, b, [](auto x, auto y) { return x * y; });
  }
};
struct DivOf {
  template <typename T>
  T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      WAN_CHECK(b != 0, kInvalidArgument, "a division by zero");
      if constexpr (std::is_signed_v<T>)
        if (b == T(-1)) return SubOf()(T(0), a);
      return static_cast<T>(a / b);
    } else {
      return a / b;
    }
  }
};
struct MinOf {
  template <typename T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>)
      if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<T>::quiet_NaN();
    return std::min(a, b);
  }
};
struct MaxOf {
  template <typename T>
  T operator()(T a, T b) const {
    if constexpr (std::is_floating_point_v<T>)
      if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<T>::quiet_NaN();
    return std::max(a, b);
  }
};
/// With the sign of the dividend, as C's.
struct FmodOf {
  template <typename T>
  T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      WAN_CHECK(b != 0, kInvalidArgument, "a division by zero");
      if constexpr (std::is_signed_v<T>)
        if (b == T(-1)) return 0;
      return static_cast<T>(a % b);
    } else {
      return std::fmod(a, b);
    }
  }
};
/// With the sign of the divisor, as Python's; fmod of floating-point numbers.
struct ModOf {
  template <typename T>
  T operator()(T a, T b) const {
    if constexpr (std::is_integral_v<T>) {
      WAN_CHECK(b != 0, kInvalidArgument, "a division by zero");
      if constexpr (std::is_signed_v<T>) {
        if (b == T(-1)) return 0;
        const T rest = static_cast<T>(a % b);
        return static_cast<T>(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest);
      } else {
        return static_cast<T>(a % b);
      }
    } else {
      return std::fmod(a, b);
    }
  }
};
template <typename T>
T saturated(double value) {
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(value);
  } else {
    if (std::isnan(value)) return 0;
    // The largest of 64 bits is no double: its neighbour above is.
    if (value >= static_cast<double>(std::numeric_limits<T>::max())) return std::numeric_limits<T>::max();
    if (value <= static_cast<double>(std::numeric_limits<T>::min())) return std::numeric_limits<T>::min();
    return static_cast<T>(value);
  }
}

template <typename F>
void compute_binary(const Call&, std::span<const HostTensor> in, std::span<HostTensor> out) {
  const HostTensor a = in[0].aligned();
  const HostTensor b = in[1].aligned();
  const Shape& shape = out[0].shape();
  const bool known = with_host_type(a.dtype(), [&]<typename T>(T) {
    const T* x = a.as<T>();
    const T* y = b.as<T>();
    T* to = out[0].fill<T>();
    for_each_element<2>(shape, {broadcast_strides(a.shape(), shape), broadcast_strides(b.shape(), shape)},
                        [&](std::int64_t i, const auto& at) { to[i] = F()(x[at[0]], y[at[1]]); });
  });
  ONNX_CHECK(known, "values of type {} are not taken", dtype_name(a.dtype()));
}

void compute_mod(const Call& call, std::span<const HostTensor> in, std::span<HostTensor> out) {
  call.node.integer("fmod", 0) != 0 ? compute_binary<FmodOf>(call, in, out)
                                    : compute_binary<ModOf>(call, in, out);
}

/// The exponent may be of another type.
std::vector<Known> infer_pow(const Call& call) {
  return {{call.in(0).dtype, broadcast(call.shape(0), call.shape(1)), {}}};
}

void compute_pow(const Call&, std::span<const HostTensor> in, std::span<HostTensor> out) {
  const HostTensor a = in[0].aligned();
  const HostTensor b = in[1].aligned();
  const Shape& shape = out[0].shape();
  bool known = false;
  const auto of = [&]<typename T>(T) {
    known = with_host_type(b.dtype(), [&]<typename U>(U) {
      for_each_element<2>(shape, {broadcast_strides(a.shape(), shape), broadcast_strides(b.shape(), shape)},
                          [&](std::int64_t i, const auto& at) {
                            out[0].fill<T>()[i] =
                                saturated<T>(std::pow(static_cast<double>(a.as<T>()[at[0]]),
                                                      static_cast<double>(b.as<U>()[at[1]])));
                          });
    });
  };
  ONNX_CHECK(with_host_type(a.dtype(), of) && known, "values of type {} are not taken",
             dtype_name(a.dtype()));
}

template <typename F>
void compute_comparison(const Call&, std::span<const HostTensor> in, std::span<HostTensor> out) {
  const HostTensor a = in[0].aligned();
  const HostTensor b = in[1].aligned();
  const Shape& shape = out[0].shape();
  const bool known = with_host_type(a.dtype(), [&]<typename T>(T) {
    const T* x = a.as<T>();
    const T* y = b.as<T>();
    auto* to = out[0].fill<std::uint8_t>();
    for_each_element<2>(shape, {broadcast_strides(a.shape(), shape), broadcast_strides(b.shape(), shape)},
                        [&](std::int64_t i, const auto& at) { to[i] = F()(x[at[0]], y[at[1]]) ? 1 : 0; });
  });
  ONNX_CHECK(known, "values of type {} are not taken", dtype_name(a.dtype()));
}

struct EqualOf {
  bool operator()(auto a, auto b) const { return a == b; }
};
struct LessOf {
  bool operator()(auto a, auto b) const { return a < b; }
};
struct GreaterOf {
  bool operator()(auto a, auto b) const { return a > b; }
};
struct LessEqualOf {
  bool operator()(auto a, auto b) const { return a <= b; }
};
struct GreaterEqualOf {
  bool operator()(auto a, auto b) const { return a >= b; }
};
struct AndOf {
  bool operator()(auto a, auto b) const { return a != 0 && b != 0; }
};
struct OrOf {
  bool operator()(auto a, auto b) const { return a != 0 || b != 0; }
};

/// A function of double on floating-point values.
template <typename F>
void compute_unary(const Call& call, std::span<const HostTensor> in, std::span<HostTensor> out) {
  const HostTensor x = in[0].aligned();
  const F f(call);
  const auto apply = [&]<typename T>(T) {
    T* to = out[0].fill<T>();
    for (std::int64_t i = 0; i < x.elements(); ++i)
      to[i] = saturated<T>(f(static_cast<double>(x.as<T>()[i])));
  };
  ONNX_CHECK(with_host_type(x.dtype(), apply), "values of type {} are not taken", dtype_name(x.dtype()));
}

#define ONNX_UNARY(NAME, EXPRESSION)                         \
  struct NAME {                                              \
    explicit NAME(const Call&) {}                            \
    double operator()(double x) const { return EXPRESSION; } \
  }
ONNX_UNARY(SigmoidOf, 1.0 / (1.0 + std::exp(-x)));
ONNX_UNARY(ReluOf, std::isnan(x) ? x : std::max(x, 0.0));
ONNX_UNARY(TanhOf, std::tanh(x));
ONNX_UNARY(ErfOf, std::erf(x));
ONNX_UNARY(SqrtOf, std::sqrt(x));
ONNX_UNARY(ExpOf, std::exp(x));
ONNX_UNARY(LogOf, std::log(x));
ONNX_UNARY(NegOf, -x);
ONNX_UNARY(AbsOf, std::fabs(x));
ONNX_UNARY(FloorOf, std::floor(x));
ONNX_UNARY(CeilOf, std::ceil(x));
ONNX_UNARY(ReciprocalOf, 1.0 / x);
#undef ONNX_UNARY
struct GeluOf {
  explicit GeluOf(const Call& call) : tanh(call.node.text("approximate", "none") == "tanh") {}
  double operator()(double x) const {
    if (tanh) return 0.5 * x * (1.0 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    return 0.5 * x * std::erfc(-x * 0.7071067811865476);
  }
  bool tanh;
};

void compute_clip(const Call&, std::span<const HostTensor> in, std::span<HostTensor> out) {
  const HostTensor x = in[0].aligned();
  const bool known = with_host_type(x.dtype(), [&]<typename T>(T) {
    const auto limit = [&](std::size_t index, T otherwise) {
      return in.size() > index && in[index] ? *in[index].aligned().template as<T>() : otherwise;
    };
    const T low = limit(1, std::numeric_limits<T>::lowest());
    const T high = limit(2, std::numeric_limits<T>::max());
    for (std::int64_t i = 0; i < x.elements(); ++i)
      out[0].fill<T>()[i] = std::min(std::max(x.as<T>()[i], low), high);
  });
  ONNX_CHECK(known, "values of type {} are not taken", dtype_name(x.dtype()));
}

std::vector<Known> infer_clip(const Call& call) {
  for (std::size_t i = 1; i < call.inputs.size(); ++i)
    if (call.has(i))
      ONNX_CHECK(call.in(i).dtype == call.in(0).dtype && call.shape(i).elements() == 1,
                 "a limit that is no number of the input's type");
  return infer_same(call);
}

void compute_not(const Call&, std::span<const HostTensor> in, std::span<HostTensor> out) {
  for (std::int64_t i = 0; i < in[0].elements(); ++i)
    out[0].fill<std::uint8_t>()[i] = in[0].as<std::uint8_t>()[i] == 0 ? 1 : 0;
}

std::vector<Known> infer_not(const Call& call) {
  ONNX_CHECK(call.in(0).dtype == DType::kBool, "an input of type {}", dtype_name(call.in(0).dtype));
  return infer_same(call);
}

void compute_where(const Call&, std::span<const HostTensor> in, std::span<HostTensor> out) {
  const Shape& shape = out[0].shape();
  const std::size_t size = dtype_size(out[0].dtype());
  std::byte* to = out[0].writable();
  for_each_element<3>(shape,
                      {broadcast_strides(in[0].shape(), shape), broadcast_strides(in[1].shape(), shape),
                       broadcast_strides(in[2].shape(), shape)},
                      [&](std::int64_t i, const auto& at) {
                        const bool chosen = in[0].as<std::uint8_t>()[at[0]] != 0;
                        const std::byte* from = chosen
                                                    ? in[1].data() + static_cast<std::size_t>(at[1]) * size
                                                    : in[2].data() + static_cast<std::size_t>(at[2]) * size;
                        std::memcpy(to + static_cast<std::size_t>(i) * size, from, size);
                      });
}

/// In f32, which holds both kinds of 16 bits.
HostTensor widened(const HostTensor& x) {
  if (x.dtype() != DType::kF16 && x.dtype() != DType::kBF16) return x.aligned();
  HostTensor made(DType::kF32, x.shape());
  for (std::int64_t i = 0; i < x.elements(); ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, x.data() + 2 * i, 2);
    made.fill<float>()[i] = x.dtype() == DType::kF16 ? to_float(F16{bits}) : to_float(BF16{bits});
  }
  return made;
}

void compute_cast(const Call&, std::span<const HostTensor> in, std::span<HostTensor> out) {
  const HostTensor x = widened(in[0]);
  const DType type = out[0].dtype();
  const std::int64_t count = x.elements();
  with_host_type(x.dtype(), [&]<typename From>(From) {
    const From* from = x.as<From>();
    if (type == DType::kF16) {
      for (std::int64_t i = 0; i < count; ++i) out[0].fill<F16>()[i] = to_f16(static_cast<float>(from[i]));
    } else if (type == DType::kBF16) {
      for (std::int64_t i = 0; i < count; ++i) out[0].fill<BF16>()[i] = to_bf16(static_cast<float>(from[i]));
    } else if (type == DType::kBool) {
      for (std::int64_t i = 0; i < count; ++i) out[0].fill<std::uint8_t>()[i] = from[i] != From{} ? 1 : 0;
    } else {
      with_host_type(type, [&]<typename To>(To) {
        for (std::int64_t i = 0; i < count; ++i) {
          if constexpr (std::is_integral_v<From> || std::is_floating_point_v<To>)
            out[0].fill<To>()[i] = static_cast<To>(from[i]);
          else
            out[0].fill<To>()[i] = saturated<To>(static_cast<double>(from[i]));
        }
      });
    }
  });
}

void compute_identity(const Call&, std::span<const HostTensor> in, std::span<HostTensor> out) {
  std::memcpy(out[0].writable(), in[0].data(), in[0].bytes());
}

constexpr OperatorEntry kElementwiseOperators[] = {
    {"Abs", {infer_same, compute_unary<AbsOf>}},
    {"Add", {infer_binary, compute_binary<AddOf>}},
    {"And", {infer_comparison, compute_comparison<AndOf>}},
    {"Cast", {infer_cast, compute_cast}},
    {"Ceil", {infer_same, compute_unary<CeilOf>}},
    {"Clip", {infer_clip, compute_clip}},
    {"Div", {infer_binary, compute_binary<DivOf>}},
    {"Dropout", {infer_dropout, nullptr}},
    {"Equal", {infer_comparison, compute_comparison<EqualOf>}},
    {"Erf", {infer_same, compute_unary<ErfOf>}},
    {"Exp", {infer_same, compute_unary<ExpOf>}},
    {"Floor", {infer_same, compute_unary<FloorOf>}},
    {"Gelu", {infer_same, compute_unary<GeluOf>}},
    {"Greater", {infer_comparison, compute_comparison<GreaterOf>}},
    {"GreaterOrEqual", {infer_comparison, compute_comparison<GreaterEqualOf>}},
    {"Identity", {infer_same, compute_identity}},
    {"Less", {infer_comparison, compute_comparison<LessOf>}},
    {"LessOrEqual", {infer_comparison, compute_comparison<LessEqualOf>}},
    {"Log", {infer_same, compute_unary<LogOf>}},
    {"Max", {infer_binary, compute_binary<MaxOf>}},
    {"Min", {infer_binary, compute_binary<MinOf>}},
    {"Mod", {infer_binary, compute_mod}},
    {"Mul", {infer_binary, compute_binary<MulOf>}},
    {"Neg", {infer_same, compute_unary<NegOf>}},
    {"Not", {infer_not, compute_not}},
    {"Or", {infer_comparison, compute_comparison<OrOf>}},
    {"Pow", {infer_pow, compute_pow}},
    {"Reciprocal", {infer_same, compute_unary<ReciprocalOf>}},
    {"Relu", {infer_same, compute_unary<ReluOf>}},
    {"Sigmoid", {infer_same, compute_unary<SigmoidOf>}},
    {"Sqrt", {infer_same, compute_unary<SqrtOf>}},
    {"Sub", {infer_binary, compute_binary<SubOf>}},
    {"Tanh", {infer_same, compute_unary<TanhOf>}},
    {"Where", {infer_where, compute_where}},
};

}  // namespace

std::span<const OperatorEntry> elementwise_operators() {
  return kElementwiseOperators;
}

}  // namespace wan::onnx
