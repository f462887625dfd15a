#include "ops/activation.h"

#include <cstring>

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/conversion.h"
#include "backends/cpu/parallel_for.h"

namespace wan {

bool has_kernel(const CpuBackend&, const ActivationArgs&) {
  return true;
}

void run_kernel(CpuBackend& cpu, ExecContext&, const ActivationArgs& args) {
  const std::int64_t count = args.x.elements();
  parallel_for(useful_threads(cpu.threads(), count), count, kChunk,
               [&](std::int64_t begin, std::int64_t end) {
                 float in[kChunk];
                 float result[kChunk];
                 for (; begin < end; begin += kChunk) {
                   const std::int64_t n = std::min(kChunk, end - begin);
                   const float* x = row_as_f32(cpu.kernels(), args.x, begin, n, in);
                   write_row(cpu.kernels(), args.out, begin, n, result, [&](float* out) {
                     if (args.kind == ActivationKind::kSiLU) return cpu.kernels().silu(x, out, n);
                     if (args.kind == ActivationKind::kGeluTanh) return cpu.kernels().gelu_tanh(x, out, n);
                     if (args.kind == ActivationKind::kGelu) return cpu.kernels().gelu(x, out, n);
                     if (args.kind == ActivationKind::kLeakyReLU) return cpu.kernels().leaky_relu(x, out, n);
                     if (args.kind == ActivationKind::kReLU) return cpu.kernels().relu(x, out, n);
                     std::memmove(out, x, static_cast<std::size_t>(n) * sizeof(float));
                   });
                 }
               });
}

}  // namespace wan
