// In place of cuBLASLt and cuDNN: plain loops that take some problems and refuse others, so that every way round a refusal
// is walked. The kernels by others are not emulated: attention always goes to our own.

#include "backends/cuda/attention_library.h"
#include "backends/cuda/convolution_library.h"
#include "backends/cuda/matmul_library.h"
#include "backends/cuda/scratch.h"
#include "ops/copy.h"
#include "ops/linear.h"

namespace wan::cuda {

struct MatmulLibrary::Impl {
  std::size_t problems = 0;
};

MatmulLibrary::MatmulLibrary(Tuner*) : impl_(std::make_unique<Impl>()) {}
MatmulLibrary::~MatmulLibrary() = default;

bool MatmulLibrary::run(cudaStream_t, Allocator&, const MatmulProblem& problem) {
  WAN_ASSERT(problem.x.dtype() == problem.weight.dtype());
  WAN_ASSERT(problem.out.dtype() == DType::kF32 || problem.x.dtype() == DType::kBF16);
  WAN_ASSERT(!problem.bias || problem.bias.dtype() == problem.out.dtype());
  ++impl_->problems;
  const std::int64_t inner = problem.x.dim(1);
  if (inner % 7 == 0) return false;                             // nothing
  if (inner % 3 == 0 && problem.bias) return false;             // no bias
  if (problem.x.dim(0) % 2 == 0 && problem.gelu) return false;  // no GELU
  reference(LinearArgs{problem.x, problem.weight, problem.bias, problem.out,
                       problem.gelu ? ActivationKind::kGeluTanh : ActivationKind::kNone});
  return true;
}

bool MatmulLibrary::run(cudaStream_t, Allocator&, const BatchedProduct& p) {
  WAN_ASSERT(p.x.dtype() == p.y.dtype());
  WAN_ASSERT(p.out.dtype() == DType::kF32 || p.x.dtype() == DType::kBF16);
  const std::int64_t inner = p.x.dim(2);
  WAN_ASSERT(p.x.stride(2) == 1 && p.out.stride(2) == 1);
  WAN_ASSERT(p.y.stride(2) == 1 || p.y.stride(1) == 1);
  ++impl_->problems;
  if (p.x.dtype() == DType::kBF16 && inner % 2 != 0) return false;
  for (std::int64_t b = 0; b < p.x.dim(0); ++b) {
    const Tensor y(p.y.dtype(), {p.y.dim(1), inner});  // contiguous, which linear's weight must be
    reference(CopyArgs{p.y.select(0, b), y});
    reference(LinearArgs{p.x.select(0, b), y, {}, p.out.select(0, b)});
  }
  return true;
}

std::size_t MatmulLibrary::plans() const {
  return impl_->problems;
}

struct ConvolutionLibrary::Impl {};

ConvolutionLibrary::ConvolutionLibrary(bool, Tuner*) {}
ConvolutionLibrary::~ConvolutionLibrary() = default;

bool ConvolutionLibrary::run(cudaStream_t, Workspace&, const TensorView& scratch, const Conv3dArgs& args) {
  WAN_ASSERT(scratch.elements() == kConvolutionWorkspaceBytes);
  WAN_ASSERT(args.x.dtype() == args.weight.dtype() && args.x.dtype() == args.out.dtype());
  WAN_ASSERT(!args.residual);
  WAN_ASSERT(args.padding.top == args.padding.bottom && args.padding.left == args.padding.right);
  const std::size_t pixel = 16 / dtype_size(args.x.dtype());
  WAN_ASSERT(static_cast<std::size_t>(args.x.dim(3)) % pixel == 0);
  WAN_ASSERT(static_cast<std::size_t>(args.out.dim(3)) % pixel == 0);
  if (args.x.dim(3) % 3 == 0) return false;                     // nothing
  if (args.weight.dim(0) % 16 == 0 && args.bias) return false;  // no bias
  reference(args);
  return true;
}

struct AttentionLibrary::Impl {};

AttentionLibrary::AttentionLibrary() = default;
AttentionLibrary::~AttentionLibrary() = default;

bool AttentionLibrary::run(cudaStream_t, Workspace&, const AttentionArgs&) {
  return false;
}

bool has_hopper_attention() {
  return false;
}

void run_hopper_attention(cudaStream_t, Workspace&, int, const AttentionArgs&) {
  WAN_ASSERT(false && "there are no Hopper kernels");
}

}  // namespace wan::cuda
