#pragma once
// Nodes that are one op of ours put together.

#include "onnx/analysis.h"

namespace wan::onnx {

/// Rewrites the nodes that are left to run:
///   Conv or ConvTranspose, then BatchNormalization   its weights and bias scaled
///   x Sigmoid(x)                                      wan.SiLU
///   x (1 + Erf(x / sqrt 2)) / 2                       Gelu
///   ReduceMean, Sub, Pow, ReduceMean, Sqrt, Div ..     LayerNormalization
///   MatMul by a constant, then Add of a row            wan.Linear of x, weight [K, N] and bias
///   MatMul, a scale, Softmax, MatMul                   wan.Attention of q, k transposed and v, `scale`
///   a function of one value after a product            the product's `wan.activation`
/// Results that others take too are left as they are.
void fuse(Analysis& analysis);

}  // namespace wan::onnx
