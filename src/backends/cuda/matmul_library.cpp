#include "backends/cuda/matmul_library.h"

#include <cublasLt.h>

#include <algorithm>
#include <compare>
#include <optional>
#include <vector>

#include "backends/cuda/check.h"
#include "backends/cuda/plan_cache.h"
#include "backends/cuda/scratch.h"
#include "base/error.h"
#include "base/log.h"

namespace wan::cuda {

namespace {

constexpr std::size_t kWorkspaceBytes = kProductWorkspaceBytes;

// Tuning: candidates, and the work from which on a product is worth it, a few hundredths of a millisecond.
constexpr int kMostCandidates = 8;
constexpr double kWorthTuning = 2e10;

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

cudaDataType_t cuda_type_of(const TensorView& view) {
  return view.dtype() == DType::kBF16 ? CUDA_R_16BF : CUDA_R_32F;
}

template <typename T>
void set(const MatmulDesc& desc, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  WAN_CUBLAS(cublasLtMatmulDescSetAttribute(desc.get(), attribute, &value, sizeof value));
}

template <typename T>
void set(const Layout& layout, cublasLtMatrixLayoutAttribute_t attribute, const T& value) {
  WAN_CUBLAS(cublasLtMatrixLayoutSetAttribute(layout.get(), attribute, &value, sizeof value));
}

template <typename T>
void set(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute, const T& value) {
  WAN_CUBLAS(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof value));
}

/// Bytes that divide the address, at most what cuBLASLt asks about.
std::uint32_t alignment_of(const TensorView& view) {
  std::uint32_t alignment = 256;
  while (reinterpret_cast<std::uintptr_t>(view.data()) % alignment != 0) alignment /= 2;
  return alignment;
}

/// A batch of matrices as cuBLAS counts them: columns first. Everything about them but the address.
struct Matrices {
  cudaDataType_t type;
  std::int64_t rows, columns;
  std::int64_t leading;  // from a column to the next
  std::int64_t batch_stride;
  std::uint32_t alignment;

  auto operator<=>(const Matrices&) const = default;
  bool valid() const { return rows > 0 && columns > 0 && leading >= rows; }
};

/// A row-major matrix [rows, columns], which is [columns, rows] counted columns first.
Matrices matrices(const TensorView& view, std::int64_t batch_stride = 0) {
  const std::int64_t rows = view.dim(-2);
  const std::int64_t columns = view.dim(-1);
  // That of a single row is free, and may be anything in its view.
  const std::int64_t leading = rows > 1 ? view.stride(view.rank() - 2) : std::max<std::int64_t>(columns, 1);
  return {cuda_type_of(view), columns, rows, leading, batch_stride, alignment_of(view)};
}

Matrices batch(const TensorView& view) {
  return matrices(view, view.dim(0) > 1 ? view.stride(0) : 0);
}

/// out^T = weight x^T, the weight transposed where it lies as [columns of out, inner]: everything that a plan depends on.
struct Problem {
  Matrices weight, x, out;
  bool weight_transposed;
  std::int64_t batches;
  cublasLtEpilogue_t epilogue;
  std::uint32_t bias_alignment;

  auto operator<=>(const Problem&) const = default;
  double flops() const {
    return 2.0 * static_cast<double>(batches) * static_cast<double>(out.rows) *
           static_cast<double>(out.columns) * static_cast<double>(x.rows);
  }
  bool has_bias() const {
    return epilogue == CUBLASLT_EPILOGUE_BIAS || epilogue == CUBLASLT_EPILOGUE_GELU_BIAS;
  }
};

cublasLtEpilogue_t epilogue_of(const MatmulProblem& p) {
  if (p.gelu) return p.bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
  return p.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

Problem problem_of(const MatmulProblem& p) {
  return {.weight = matrices(p.weight),
          .x = matrices(p.x),
          .out = matrices(p.out),
          .weight_transposed = true,
          .batches = 1,
          .epilogue = epilogue_of(p),
          .bias_alignment = alignment_of(p.bias)};
}

Problem problem_of(const BatchedProduct& p) {
  const bool dense_inner = p.y.stride(2) == 1;
  return {.weight = batch(dense_inner ? p.y : p.y.permute({0, 2, 1})),
          .x = batch(p.x),
          .out = batch(p.out),
          .weight_transposed = dense_inner,
          .batches = p.x.dim(0),
          .epilogue = CUBLASLT_EPILOGUE_DEFAULT,
          .bias_alignment = 0};
}

struct Plan {
  MatmulDesc desc;
  Layout weight, x, out;
  cublasLtMatmulAlgo_t algorithm{};
};

Layout make_layout(const Matrices& m, std::int64_t batches) {
  cublasLtMatrixLayout_t made = nullptr;
  WAN_CUBLAS(cublasLtMatrixLayoutCreate(&made, m.type, static_cast<std::uint64_t>(m.rows),
                                        static_cast<std::uint64_t>(m.columns), m.leading));
  Layout layout(made);
  if (batches > 1) {
    set(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, static_cast<std::int32_t>(batches));
    set(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, m.batch_stride);
  }
  return layout;
}

Plan describe(const Problem& p) {
  Plan plan;
  cublasLtMatmulDesc_t desc = nullptr;
  WAN_CUBLAS(cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  plan.desc.reset(desc);
  set(plan.desc, CUBLASLT_MATMUL_DESC_TRANSA, p.weight_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(plan.desc, CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N);
  set(plan.desc, CUBLASLT_MATMUL_DESC_EPILOGUE, p.epilogue);
  if (p.has_bias()) set(plan.desc, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, p.out.type);
  plan.weight = make_layout(p.weight, p.batches);
  plan.x = make_layout(p.x, p.batches);
  plan.out = make_layout(p.out, p.batches);
  return plan;
}

/// The library's choices for a plan, the best first by its own estimate.
std::vector<cublasLtMatmulAlgo_t> algorithms(cublasLtHandle_t handle, const Plan& plan, const Problem& p,
                                             int most) {
  cublasLtMatmulPreference_t made = nullptr;
  WAN_CUBLAS(cublasLtMatmulPreferenceCreate(&made));
  const Preference preference(made);
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspaceBytes);
  // Partial sums of a divided inner dimension are added in f32, never in the result's type.
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, p.weight.alignment);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, p.x.alignment);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, p.out.alignment);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, p.out.alignment);
  std::vector<cublasLtMatmulHeuristicResult_t> found(static_cast<std::size_t>(most));
  int count = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(handle, plan.desc.get(), plan.weight.get(), plan.x.get(), plan.out.get(),
                                     plan.out.get(), preference.get(), most, found.data(), &count);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) return {};
  check_blas(status, "cublasLtMatmulAlgoGetHeuristic", __LINE__);
  std::vector<cublasLtMatmulAlgo_t> usable;
  for (int i = 0; i < count; ++i) {
    const auto& result = found[static_cast<std::size_t>(i)];
    if (result.state == CUBLAS_STATUS_SUCCESS) usable.push_back(result.algo);
  }
  return usable;
}

void note_refusal(const Problem& p) {
  const auto name = [](cudaDataType_t type) { return type == CUDA_R_16BF ? "bf16" : "f32"; };
  log(LogLevel::kDebug,
      fmt::format("[linear] cuBLASLt has no algorithm for {} of {} x {} x {} of {} to {}, epilogue {}",
                  p.batches, p.out.columns, p.x.rows, p.out.rows, name(p.x.type), name(p.out.type),
                  static_cast<int>(p.epilogue)));
}

/// Where a product reads and writes.
struct Addresses {
  const void* weight;
  const void* x;
  const void* bias;
  TensorView out;
};

}  // namespace

struct MatmulLibrary::Impl {
  Tuner* tuner;
  Handle handle;
  Buffer workspace;
  PlanCache<Problem, std::optional<Plan>> plans;

  bool run(cudaStream_t stream, Allocator& allocator, const Problem& problem, const Addresses& at);
  std::optional<Plan> make_plan(cudaStream_t stream, const Problem& problem, const Addresses& at) const;
  cublasStatus_t multiply(cudaStream_t stream, const Plan& plan, const cublasLtMatmulAlgo_t& algorithm,
                          const Addresses& at) const;
};

MatmulLibrary::MatmulLibrary(Tuner* tuner) : impl_(std::make_unique<Impl>()) {
  impl_->tuner = tuner;
}
MatmulLibrary::~MatmulLibrary() = default;

cublasStatus_t MatmulLibrary::Impl::multiply(cudaStream_t stream, const Plan& plan,
                                             const cublasLtMatmulAlgo_t& algorithm,
                                             const Addresses& at) const {
  const float one = 1.0f;
  const float zero = 0.0f;
  return cublasLtMatmul(handle.get(), plan.desc.get(), &one, at.weight, plan.weight.get(), at.x, plan.x.get(),
                        &zero, at.out.data(), plan.out.get(), at.out.data(), plan.out.get(), &algorithm,
                        workspace.data(), kWorkspaceBytes, stream);
}

/// None where the library has no algorithm.
std::optional<Plan> MatmulLibrary::Impl::make_plan(cudaStream_t stream, const Problem& problem,
                                                   const Addresses& at) const {
  Plan plan = describe(problem);
  if (problem.has_bias()) set(plan.desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, at.bias);
  const bool tuned = tuner != nullptr && problem.flops() >= kWorthTuning;
  const auto candidates = algorithms(handle.get(), plan, problem, tuned ? kMostCandidates : 1);
  if (candidates.empty()) return std::nullopt;
  std::size_t chosen = 0;
  if (candidates.size() > 1) {
    const int best = tuner->choose(stream, static_cast<int>(candidates.size()), at.out, [&](int i) {
      return multiply(stream, plan, candidates[static_cast<std::size_t>(i)], at) == CUBLAS_STATUS_SUCCESS;
    });
    if (best >= 0) chosen = static_cast<std::size_t>(best);
    log(LogLevel::kDebug,
        fmt::format("[linear] {} x {} x {}: candidate {} of {} is the fastest", problem.out.columns,
                    problem.x.rows, problem.out.rows, chosen + 1, candidates.size()));
  }
  plan.algorithm = candidates[chosen];
  return plan;
}

bool MatmulLibrary::Impl::run(cudaStream_t stream, Allocator& allocator, const Problem& problem,
                              const Addresses& at) {
  if (!problem.weight.valid() || !problem.x.valid() || !problem.out.valid()) return false;
  if (!handle) {
    cublasLtHandle_t made = nullptr;
    WAN_CUBLAS(cublasLtCreate(&made));
    handle.reset(made);
    workspace = Buffer(allocator, kWorkspaceBytes);
  }
  std::optional<Plan>* found = plans.find(problem);
  if (found == nullptr) {
    found = &plans.add(problem, make_plan(stream, problem, at));
    if (!*found) note_refusal(problem);
  }
  if (!*found) return false;
  const Plan& plan = **found;
  if (problem.has_bias()) set(plan.desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, at.bias);
  WAN_CUBLAS(multiply(stream, plan, plan.algorithm, at));
  return true;
}

bool MatmulLibrary::run(cudaStream_t stream, Allocator& allocator, const MatmulProblem& p) {
  return impl_->run(stream, allocator, problem_of(p), {p.weight.data(), p.x.data(), p.bias.data(), p.out});
}

bool MatmulLibrary::run(cudaStream_t stream, Allocator& allocator, const BatchedProduct& p) {
  return impl_->run(stream, allocator, problem_of(p), {p.y.data(), p.x.data(), nullptr, p.out});
}

std::size_t MatmulLibrary::plans() const {
  return impl_->plans.size();
}

}  // namespace wan::cuda
