#include "ops/gated_activation.h"

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/conversion.h"
#include "backends/cpu/parallel_for.h"

namespace wan {

bool has_kernel(const CpuBackend&, const GatedActivationArgs&) {
  return true;
}

void run_kernel(CpuBackend& cpu, ExecContext&, const GatedActivationArgs& args) {
  const auto gated = args.kind == ActivationKind::kSiLU ? cpu.kernels().gated_silu : cpu.kernels().gated_gelu;
  const std::int64_t count = args.gate.elements();
  parallel_for(
      useful_threads(cpu.threads(), count), count, kChunk, [&](std::int64_t begin, std::int64_t end) {
        float gate_part[kChunk];
        float x_part[kChunk];
        float result[kChunk];
        for (; begin < end; begin += kChunk) {
          const std::int64_t n = std::min(kChunk, end - begin);
          const float* gate = row_as_f32(cpu.kernels(), args.gate, begin, n, gate_part);
          const float* x = row_as_f32(cpu.kernels(), args.x, begin, n, x_part);
          write_row(cpu.kernels(), args.out, begin, n, result, [&](float* out) { gated(gate, x, out, n); });
        }
      });
}

}  // namespace wan
