#pragma once
// For the .cpp files of this folder: from a validated argument struct to the backend's kernel or the plain
// composite, and the checks and element access that validations and composites share.

#include "ops/backend.h"
#include "ops/exec_context.h"

namespace wan {

/// What an op writes, for FiniteCheck: `out`, or what its arguments say.
template <typename Args>
TensorView result_of(const Args& args) {
  if constexpr (requires { args.result(); })
    return args.result();
  else
    return args.out;
}

/// Floating-point operations of an op: of products, attention and convolutions only, a multiplication and its addition as two:
/// what decides a model's time, and what "FLOP of a model" means where figures are published. 0 for all others, which pass over
/// memory.
template <typename Args>
std::int64_t flop_count(const Args& args) {
  if constexpr (requires { args.flops(); })
    return args.flops();
  else
    return 0;
}

/// Throws Internal, naming op, unless every view is on the device.
template <typename Args>
void check_device(const char* op, const Args& args, Device device) {
  Args::visit_views(args, [&](const TensorView& view) {
    WAN_CHECK(!view || view.device() == device, kInternal, "[{}] expected views on {}, got one on {}", op,
              to_string(device), to_string(view.device()));
  });
}

/// Throws Unsupported: the backend has no kernel and the plain composite cannot or must not be used.
[[noreturn]] void fail_unsupported(const ExecContext& ctx, const char* op);

/// Runs args on the context's backend where it supports them, and the host composite otherwise.
template <typename Args>
void dispatch(ExecContext& ctx, const char* op, const Args& args) {
  check_device(op, args, ctx.backend.device());
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
