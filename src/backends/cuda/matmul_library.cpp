#include "backends/cuda/matmul_library.h"

#include <cublasLt.h>

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "backends/cuda/check.h"
#include "base/error.h"
#include "base/log.h"

namespace wan::cuda {

namespace {

constexpr std::size_t kWorkspaceBytes = std::size_t{64} << 20;

void check_blas(cublasStatus_t status, const char* call, int line) {
  WAN_CHECK(status == CUBLAS_STATUS_SUCCESS, kDevice, "[cuda] {} failed: {} ({}) at {}:{}", call,
            cublasLtGetStatusString(status), cublasLtGetStatusName(status), __FILE__, line);
}

#define WAN_CUBLAS(call) check_blas((call), #call, __LINE__)

/// Destroys a handle of cuBLASLt.
template <auto kDestroy>
struct Destroy {
  template <typename T>
  void operator()(T* handle) const {
    kDestroy(handle);
  }
};
using Handle = std::unique_ptr<std::remove_pointer_t<cublasLtHandle_t>, Destroy<cublasLtDestroy>>;
using MatmulDesc =
    std::unique_ptr<std::remove_pointer_t<cublasLtMatmulDesc_t>, Destroy<cublasLtMatmulDescDestroy>>;
using Layout =
    std::unique_ptr<std::remove_pointer_t<cublasLtMatrixLayout_t>, Destroy<cublasLtMatrixLayoutDestroy>>;
using Preference = std::unique_ptr<std::remove_pointer_t<cublasLtMatmulPreference_t>,
                                   Destroy<cublasLtMatmulPreferenceDestroy>>;

cudaDataType_t type_of(const TensorView& view) {
  return view.dtype() == DType::kBF16 ? CUDA_R_16BF : CUDA_R_32F;
}

template <typename T>
void set(const MatmulDesc& desc, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  WAN_CUBLAS(cublasLtMatmulDescSetAttribute(desc.get(), attribute, &value, sizeof value));
}

template <typename T>
void set(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute, const T& value) {
  WAN_CUBLAS(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof value));
}

Layout make_layout(cudaDataType_t type, std::int64_t rows, std::int64_t columns, std::int64_t leading) {
  cublasLtMatrixLayout_t layout = nullptr;
  WAN_CUBLAS(cublasLtMatrixLayoutCreate(&layout, type, static_cast<std::uint64_t>(rows),
                                        static_cast<std::uint64_t>(columns), leading));
  return Layout(layout);
}

/// Bytes that divide the address, at most what cuBLASLt asks about.
std::uint32_t alignment_of(const TensorView& view) {
  std::uint32_t alignment = 256;
  while (reinterpret_cast<std::uintptr_t>(view.data()) % alignment != 0) alignment /= 2;
  return alignment;
}

/// A row's leading dimension; that of a single row is free, and may be anything in its view.
std::int64_t leading_of(const TensorView& view) {
  return view.dim(0) > 1 ? view.stride(0) : std::max<std::int64_t>(view.dim(1), 1);
}

/// Everything that a plan depends on.
using Key = std::tuple<std::int64_t, std::int64_t, std::int64_t,  // rows, inner, columns
                       std::int64_t, std::int64_t,                // leading dimensions of x and out
                       DType, DType, bool, bool,                  // of x and out; bias, GELU
                       std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t>;  // alignments

Key key_of(const MatmulProblem& p) {
  return {p.x.dim(0),
          p.x.dim(1),
          p.weight.dim(0),
          leading_of(p.x),
          leading_of(p.out),
          p.x.dtype(),
          p.out.dtype(),
          !p.bias.empty(),
          p.gelu,
          alignment_of(p.x),
          alignment_of(p.weight),
          alignment_of(p.out),
          alignment_of(p.bias)};
}

/// cuBLAS counts columns first: out^T [columns, rows] = weight (transposed) x^T, with a bias a row.
struct Plan {
  MatmulDesc desc;
  Layout weight, x, out;
  cublasLtMatmulAlgo_t algorithm{};
};

cublasLtEpilogue_t epilogue_of(const MatmulProblem& p) {
  if (p.gelu) return p.bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
  return p.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

Plan describe(const MatmulProblem& p) {
  Plan plan;
  cublasLtMatmulDesc_t desc = nullptr;
  WAN_CUBLAS(cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  plan.desc.reset(desc);
  set(plan.desc, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  set(plan.desc, CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N);
  set(plan.desc, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue_of(p));
  if (p.bias) {
    set(plan.desc, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type_of(p.bias));
    set(plan.desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(p.bias.data()));
  }
  const std::int64_t inner = p.x.dim(1);
  plan.weight = make_layout(type_of(p.weight), inner, p.weight.dim(0), inner);
  plan.x = make_layout(type_of(p.x), inner, p.x.dim(0), leading_of(p.x));
  plan.out = make_layout(type_of(p.out), p.out.dim(1), p.out.dim(0), leading_of(p.out));
  return plan;
}

/// The library's first choice, or none.
std::optional<Plan> make_plan(cublasLtHandle_t handle, const MatmulProblem& p) {
  Plan plan = describe(p);
  cublasLtMatmulPreference_t made = nullptr;
  WAN_CUBLAS(cublasLtMatmulPreferenceCreate(&made));
  const Preference preference(made);
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspaceBytes);
  // Partial sums of a divided inner dimension are added in f32, never in the result's type.
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(p.weight));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(p.x));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(p.out));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(p.out));
  cublasLtMatmulHeuristicResult_t found{};
  int count = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(handle, plan.desc.get(), plan.weight.get(), plan.x.get(), plan.out.get(),
                                     plan.out.get(), preference.get(), 1, &found, &count);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE || count == 0 ||
      found.state != CUBLAS_STATUS_SUCCESS)
    return std::nullopt;
  check_blas(status, "cublasLtMatmulAlgoGetHeuristic", __LINE__);
  plan.algorithm = found.algo;
  return plan;
}

void note_refusal(const MatmulProblem& p) {
  log(LogLevel::kDebug,
      fmt::format("[linear] cuBLASLt has no algorithm for {} x {} x {} of {} to {}{}{}", p.x.dim(0),
                  p.x.dim(1), p.weight.dim(0), dtype_name(p.x.dtype()), dtype_name(p.out.dtype()),
                  p.bias ? ", bias" : "", p.gelu ? ", GELU" : ""));
}

}  // namespace

struct MatmulLibrary::Impl {
  Handle handle;
  Buffer workspace;
  std::map<Key, std::optional<Plan>> plans;
};

MatmulLibrary::MatmulLibrary() : impl_(std::make_unique<Impl>()) {}
MatmulLibrary::~MatmulLibrary() = default;

bool MatmulLibrary::run(cudaStream_t stream, Allocator& allocator, const MatmulProblem& p) {
  if (p.x.dim(1) == 0 || leading_of(p.x) < p.x.dim(1) || leading_of(p.out) < p.out.dim(1)) return false;
  if (!impl_->handle) {
    cublasLtHandle_t made = nullptr;
    WAN_CUBLAS(cublasLtCreate(&made));
    impl_->handle.reset(made);
    impl_->workspace = Buffer(allocator, kWorkspaceBytes);
  }
  const Key key = key_of(p);
  auto found = impl_->plans.find(key);
  if (found == impl_->plans.end()) {
    found = impl_->plans.emplace(key, make_plan(impl_->handle.get(), p)).first;
    if (!found->second) note_refusal(p);
  }
  if (!found->second) return false;
  const Plan& plan = *found->second;
  if (p.bias) set(plan.desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(p.bias.data()));
  const float one = 1.0f;
  const float zero = 0.0f;
  WAN_CUBLAS(cublasLtMatmul(impl_->handle.get(), plan.desc.get(), &one, p.weight.data(), plan.weight.get(),
                            p.x.data(), plan.x.get(), &zero, p.out.data(), plan.out.get(), p.out.data(),
                            plan.out.get(), &plan.algorithm, impl_->workspace.data(), kWorkspaceBytes,
                            stream));
  return true;
}

std::size_t MatmulLibrary::plans() const {
  return impl_->plans.size();
}

}  // namespace wan::cuda
