#include "onnx/device_functions.h"

#include <cmath>
#include <map>

namespace wan::onnx {

namespace {

std::optional<PointwiseKind> find_kind(const std::map<std::string_view, PointwiseKind>& kinds,
                                       const Node& node) {
  const auto found = kinds.find(node.op);
  if (found == kinds.end()) return std::nullopt;
  return found->second;
}

}  // namespace

std::optional<PointwiseKind> function_of_one(const Node& node) {
  static const std::map<std::string_view, PointwiseKind> kinds{{"Abs", PointwiseKind::kAbs},
                                                               {"Ceil", PointwiseKind::kCeil},
                                                               {"Erf", PointwiseKind::kErf},
                                                               {"Exp", PointwiseKind::kExp},
                                                               {"Floor", PointwiseKind::kFloor},
                                                               {"Gelu", PointwiseKind::kGelu},
                                                               {"Log", PointwiseKind::kLog},
                                                               {"Neg", PointwiseKind::kNeg},
                                                               {"Reciprocal", PointwiseKind::kReciprocal},
                                                               {"Relu", PointwiseKind::kRelu},
                                                               {"Sigmoid", PointwiseKind::kSigmoid},
                                                               {"Sqrt", PointwiseKind::kSqrt},
                                                               {"Tanh", PointwiseKind::kTanh},
                                                               {"wan.SiLU", PointwiseKind::kSiLU}};
  const auto kind = find_kind(kinds, node);
  if (kind == PointwiseKind::kGelu && node.text("approximate", "none") == "tanh")
    return PointwiseKind::kGeluTanh;
  return kind;
}

std::optional<PointwiseKind> function_of_two(const Node& node) {
  static const std::map<std::string_view, PointwiseKind> kinds{
      {"Add", PointwiseKind::kAdd}, {"Div", PointwiseKind::kDiv}, {"Max", PointwiseKind::kMax},
      {"Min", PointwiseKind::kMin}, {"Mul", PointwiseKind::kMul}, {"Pow", PointwiseKind::kPow},
      {"Sub", PointwiseKind::kSub}};
  return find_kind(kinds, node);
}

BatchScale batch_scale(const Call& call) {
  const double eps = call.node.number("epsilon", 1e-5);
  const HostTensor gamma = call.in(1).constant.aligned();
  const HostTensor beta = call.in(2).constant.aligned();
  const HostTensor mean = call.in(3).constant.aligned();
  const HostTensor variance = call.in(4).constant.aligned();
  BatchScale made{HostTensor(DType::kF32, gamma.shape()), HostTensor(DType::kF32, gamma.shape())};
  for (std::int64_t c = 0; c < gamma.elements(); ++c) {
    const double factor = static_cast<double>(gamma.as<float>()[c]) /
                          std::sqrt(static_cast<double>(variance.as<float>()[c]) + eps);
    made.factor.fill<float>()[c] = static_cast<float>(factor);
    made.addend.fill<float>()[c] = static_cast<float>(static_cast<double>(beta.as<float>()[c]) -
                                                      static_cast<double>(mean.as<float>()[c]) * factor);
  }
  return made;
}

}  // namespace wan::onnx
