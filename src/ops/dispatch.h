#pragma once
// For the .cpp files of this folder: from a validated argument struct to the backend's kernel or the plain
// composite, and the checks and element access that validations and composites share.

#include "ops/backend.h"
#include "ops/exec_context.h"
#include "ops/flop_count.h"
#include "ops/result_of.h"

namespace wan {

/// Throws Unsupported: the backend has no kernel and the plain composite cannot or must not be used.
[[noreturn]] void fail_unsupported(const ExecContext& ctx, const char* op);

/// Runs args on the context's backend where it supports them, and the host composite otherwise.
template <typename Args>
void dispatch(ExecContext& ctx, const char* op, const Args& args) {
  if (ctx.flops != nullptr) *ctx.flops += flop_count(args);
  if (ctx.backend.supports(args)) {
    ctx.backend.run(ctx, args);
  } else if (!ctx.require_fused && ctx.backend.device().kind == DeviceKind::kCpu) {
    reference(args);
  } else {
    fail_unsupported(ctx, op);
  }
  if (ctx.check != nullptr) ctx.check->look(ctx, op, result_of(args));
}

/// Throws Internal, naming op and argument, unless the view is there, floating point and of this shape.
void check_shape(const char* op, const char* argument, const TensorView& view, const Shape& expected);
void check_rank(const char* op, const char* argument, const TensorView& view, int rank);
/// Throws Internal unless the dtype is f32 or bf16.
void check_activation_dtype(const char* op, const char* argument, const TensorView& view);
/// Throws Internal unless the last dimension is contiguous.
void check_inner_contiguous(const char* op, const char* argument, const TensorView& view);

/// Host element access through strides, for composites and tests: any of f64, f32, f16, bf16.
double load_element(const TensorView& view, std::initializer_list<std::int64_t> index);
void store_element(const TensorView& view, std::initializer_list<std::int64_t> index, double value);

}  // namespace wan
