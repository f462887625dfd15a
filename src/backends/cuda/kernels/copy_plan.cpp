#include "backends/cuda/kernels/copy_plan.h"

#include <algorithm>

namespace wan::cuda {

namespace {

struct Dimension {
  std::int64_t extent, from, out;
};

}  // namespace

CopyPlan make_copy_plan(const TensorView& from, const TensorView& out) {
  Dimension dims[CopyPlan::kMostDims];
  int rank = 0;
  for (int d = 0; d < out.rank(); ++d)
    if (out.dim(d) != 1) dims[rank++] = {out.dim(d), from.stride(d), out.stride(d)};
  // Densest last: neighbouring threads then write neighbouring elements.
  std::stable_sort(dims, dims + rank, [](const Dimension& a, const Dimension& b) { return a.out > b.out; });
  CopyPlan plan{};
  plan.count = 1;
  for (int d = 0; d < rank; ++d) {
    plan.count *= dims[d].extent;
    const int last = plan.rank - 1;
    if (plan.rank > 0 && plan.from_strides[last] == dims[d].extent * dims[d].from &&
        plan.out_strides[last] == dims[d].extent * dims[d].out) {
      plan.extents[last] *= dims[d].extent;
      plan.from_strides[last] = dims[d].from;
      plan.out_strides[last] = dims[d].out;
      continue;
    }
    plan.extents[plan.rank] = dims[d].extent;
    plan.from_strides[plan.rank] = dims[d].from;
    plan.out_strides[plan.rank] = dims[d].out;
    ++plan.rank;
  }
  if (plan.rank == 0) {
    plan.extents[0] = plan.from_strides[0] = plan.out_strides[0] = 1;
    plan.rank = 1;
  }
  return plan;
}

bool take_packs(CopyPlan& plan, const TensorView& from, const TensorView& out, const PackRequest& request) {
  const int last = plan.rank - 1;
  if (plan.from_strides[last] != 1 || plan.out_strides[last] != 1) return false;
  if (plan.extents[last] % request.pack != 0) return false;
  if (reinterpret_cast<std::uintptr_t>(from.data()) % request.from_alignment != 0) return false;
  if (reinterpret_cast<std::uintptr_t>(out.data()) % request.out_alignment != 0) return false;
  for (int d = 0; d < last; ++d)
    if (plan.from_strides[d] % request.pack != 0 || plan.out_strides[d] % request.pack != 0) return false;
  plan.extents[last] /= request.pack;
  plan.from_strides[last] = request.pack;
  plan.out_strides[last] = request.pack;
  plan.count /= request.pack;
  return true;
}

}  // namespace wan::cuda
