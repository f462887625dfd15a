#pragma once
// For the .cpp files of this folder: from a validated argument struct to the backend's kernel or the plain
// composite, and the checks and element access that validations and composites share.

#include <vector>

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

/// What is wrong with the access to an element.
[[noreturn]] void fail_element(const TensorView& view, std::size_t indexes);

/// Elements from a view's first one to that at `index`.
inline std::int64_t element_offset(const TensorView& view, std::initializer_list<std::int64_t> index) {
  if (static_cast<int>(index.size()) != view.rank()) fail_element(view, index.size());
  const std::int64_t* stride = view.strides().extents().data();
  std::int64_t offset = 0;
  for (const std::int64_t i : index) offset += i * *stride++;
  return offset;
}

/// Host element access through strides, for composites and tests: any of f64, f32, f16, bf16. Here and not in the .cpp file: composites
/// do nothing else, and take a fraction of the time when it is a part of their loops.
inline double load_element(const TensorView& view, std::initializer_list<std::int64_t> index) {
  const std::int64_t offset = element_offset(view, index);
  switch (view.dtype()) {
    case DType::kF64:
      return reinterpret_cast<const double*>(view.data())[offset];
    case DType::kF32:
      return reinterpret_cast<const float*>(view.data())[offset];
    case DType::kBF16:
      return to_float(reinterpret_cast<const BF16*>(view.data())[offset]);
    case DType::kF16:
      return to_float(reinterpret_cast<const F16*>(view.data())[offset]);
    default:
      fail_element(view, index.size());
  }
}

/// All of a view's elements, row-major: for composites that come back to each many times.
std::vector<double> load_elements(const TensorView& view);
/// Sum over a[i] b[i], i < n, for composites: in four parts, which do not wait for each other's additions.
double dot_product(const double* a, const double* b, std::int64_t n);

inline void store_element(const TensorView& view, std::initializer_list<std::int64_t> index, double value) {
  const std::int64_t offset = element_offset(view, index);
  switch (view.dtype()) {
    case DType::kF64:
      reinterpret_cast<double*>(view.data())[offset] = value;
      return;
    case DType::kF32:
      reinterpret_cast<float*>(view.data())[offset] = static_cast<float>(value);
      return;
    case DType::kBF16:
      reinterpret_cast<BF16*>(view.data())[offset] = to_bf16(static_cast<float>(value));
      return;
    case DType::kF16:
      reinterpret_cast<F16*>(view.data())[offset] = to_f16(static_cast<float>(value));
      return;
    default:
      fail_element(view, index.size());
  }
}

}  // namespace wan
