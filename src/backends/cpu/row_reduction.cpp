#include "ops/row_reduction.h"

#include <algorithm>
#include <cmath>

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/parallel_for.h"

namespace wan {

namespace {

float reduced_row(RowReductionKind kind, const float* x, std::int64_t count) {
  float value = x[0];
  switch (kind) {
    case RowReductionKind::kMax:
      for (std::int64_t i = 1; i < count; ++i) value = value > x[i] || value != value ? value : x[i];
      return value;
    case RowReductionKind::kMin:
      for (std::int64_t i = 1; i < count; ++i) value = value < x[i] || value != value ? value : x[i];
      return value;
    case RowReductionKind::kSum:
    case RowReductionKind::kMean:
      break;
  }
  // Partial sums keep the error from growing with the length.
  constexpr std::int64_t kParts = 16;
  float parts[kParts] = {};
  for (std::int64_t i = 0; i < count; ++i) parts[i % kParts] += x[i];
  value = 0.0f;
  for (const float part : parts) value += part;
  return kind == RowReductionKind::kMean ? value / static_cast<float>(count) : value;
}

void softmax_row(const float* x, float* out, std::int64_t count) {
  float highest = x[0];
  for (std::int64_t i = 1; i < count; ++i) highest = std::max(highest, x[i]);
  float sum = 0.0f;
  for (std::int64_t i = 0; i < count; ++i) sum += out[i] = std::exp(x[i] - highest);
  for (std::int64_t i = 0; i < count; ++i) out[i] /= sum;
}

}  // namespace

bool has_kernel(const CpuBackend&, const RowReductionArgs&) {
  return true;
}

void run_kernel(CpuBackend& cpu, ExecContext&, const RowReductionArgs& args) {
  const std::int64_t width = args.x.dim(1);
  const float* x = args.x.as<float>();
  float* out = args.out.as<float>();
  for_each_row(cpu.threads(), args.x.dim(0), width,
               [&](std::int64_t row) { out[row] = reduced_row(args.kind, x + row * width, width); });
}

bool has_kernel(const CpuBackend&, const RowSoftmaxArgs&) {
  return true;
}

void run_kernel(CpuBackend& cpu, ExecContext&, const RowSoftmaxArgs& args) {
  const std::int64_t width = args.x.dim(1);
  const float* x = args.x.as<float>();
  float* out = args.out.as<float>();
  for_each_row(cpu.threads(), args.x.dim(0), width,
               [&](std::int64_t row) { softmax_row(x + row * width, out + row * width, width); });
}

}  // namespace wan
