#include "ops/linear.h"

#include "backends/cuda/backend_impl.h"
#include "backends/cuda/kernels/elementwise.h"
#include "backends/cuda/kernels/language.h"
#include "backends/cuda/kernels/plain_products.h"

namespace wan {

using namespace cuda;

namespace {

/// What is left to do after a library's product.
struct Rest {
  bool done = false;  // the product itself
  bool bias = false;
  ActivationKind activation = ActivationKind::kNone;
};

/// Lets the library fuse as much as it can.
Rest multiply(MatmulLibrary& library, cudaStream_t stream, Allocator& allocator, MatmulProblem problem,
              ActivationKind activation) {
  // cuBLASLt's GELU is precise enough for a bf16 result only.
  problem.gelu = activation == ActivationKind::kGeluTanh && problem.out.dtype() == DType::kBF16;
  if (problem.gelu && library.run(stream, allocator, problem)) return {.done = true};
  problem.gelu = false;
  if (library.run(stream, allocator, problem)) return {.done = true, .activation = activation};
  if (!problem.bias) return {};
  problem.bias = {};
  if (library.run(stream, allocator, problem)) return {.done = true, .bias = true, .activation = activation};
  return {};
}

}  // namespace

void run_kernel(CudaBackend& gpu, ExecContext& ctx, const LinearArgs& args) {
  const cudaStream_t stream = gpu.stream();
  if (args.out.elements() == 0) return;
  if (is_matrix_vector(args)) return launch_matrix_vectors(stream, {{args}});
  const Workspace::Scope scope(ctx.workspace);
  const LinearScratch scratch(ctx.workspace, args);
  gpu.convert(args.x, scratch.x);
  gpu.convert(args.bias, scratch.bias);
  MatmulProblem problem;
  problem.x = scratch.x;
  problem.weight = args.weight;
  problem.bias = scratch.bias;
  problem.out = scratch.out;
  const Rest rest = multiply(gpu.products(), stream, gpu.allocator(), problem, args.activation);
  if (!rest.done) return launch_plain_linear(stream, args);
  if (!rest.bias && rest.activation == ActivationKind::kNone && problem.out.data() == args.out.data()) return;
  launch_finish_rows(stream, {.x = problem.out,
                              .bias = rest.bias ? args.bias : TensorView(),
                              .activation = rest.activation,
                              .out = args.out});
}

void run_kernel(CudaBackend& gpu, ExecContext& ctx, const LinearGroupArgs& args) {
  if (are_matrix_vectors(args)) return launch_matrix_vectors(gpu.stream(), args);
  args.for_each([&](const LinearArgs& product) { run_kernel(gpu, ctx, product); });
  if (args.is_gated()) gpu.run(ctx, args.gating());
}

}  // namespace wan
