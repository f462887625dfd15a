#pragma once
// Floating-point operations of an op, counted where ops are dispatched (ExecContext::flops). Products, attention and
// convolutions only, a multiplication and its addition as two: what decides a model's time, and what "FLOP of a model"
// means where figures are published.

#include <cstdint>

#include "ops/attention.h"
#include "ops/conv3d.h"
#include "ops/linear.h"

namespace wan {

/// x [M, K] and weight [N, K]: 2 M N K.
inline std::int64_t flop_count(const LinearArgs& args) {
  return 2 * args.x.dim(0) * args.x.dim(1) * args.weight.dim(0);
}

/// q [Lq, H, D] and k [Lk, H, D]: 4 Lq Lk H D, scores and their product with the values.
inline std::int64_t flop_count(const AttentionArgs& args) {
  return 4 * args.q.elements() * args.k.dim(0);
}

/// out [T, H, W, O] and weight [O, kt, kh, kw, I]: 2 T H W O kt kh kw I.
inline std::int64_t flop_count(const Conv3dArgs& args) {
  return 2 * args.out.elements() * (args.weight.elements() / args.weight.dim(0));
}

/// All other ops, which pass over memory.
template <typename Args>
std::int64_t flop_count(const Args&) {
  return 0;
}

}  // namespace wan
