#include "ops/gated_gelu.h"

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/conversion.h"
#include "backends/cpu/parallel_for.h"

namespace wan {

bool has_kernel(const CpuBackend&, const GatedGeluArgs&) {
  return true;
}

void run_kernel(CpuBackend& cpu, ExecContext&, const GatedGeluArgs& args) {
  const std::int64_t count = args.gate.elements();
  parallel_for(useful_threads(cpu.threads(), count), count, kChunk,
               [&](std::int64_t begin, std::int64_t end) {
                 float gate_part[kChunk];
                 float x_part[kChunk];
                 float result[kChunk];
                 for (; begin < end; begin += kChunk) {
                   const std::int64_t n = std::min(kChunk, end - begin);
                   const float* gate = row_as_f32(cpu.kernels(), args.gate, begin, n, gate_part);
                   const float* x = row_as_f32(cpu.kernels(), args.x, begin, n, x_part);
                   write_row(cpu.kernels(), args.out, begin, n, result,
                             [&](float* out) { cpu.kernels().gated_gelu(gate, x, out, n); });
                 }
               });
}

}  // namespace wan
