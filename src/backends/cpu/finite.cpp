#include "ops/finite.h"

#include <atomic>

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/conversion.h"
#include "backends/cpu/parallel_for.h"

namespace wan {

bool has_kernel(const CpuBackend&, const CountNonFiniteArgs&) {
  return true;
}

void run_kernel(CpuBackend& cpu, ExecContext&, const CountNonFiniteArgs& args) {
  const std::int64_t count = args.x.elements();
  std::atomic<std::int64_t> found{0};
  parallel_for(useful_threads(cpu.threads(), count), count, 64, [&](std::int64_t begin, std::int64_t end) {
    if (args.x.dtype() == DType::kF32)
      found += cpu.kernels().non_finite_f32(
          reinterpret_cast<const std::uint32_t*>(args.x.as<float>()) + begin, end - begin);
    else
      found += cpu.kernels().non_finite_bf16(bf16_bits(args.x) + begin, end - begin);
  });
  *args.count = found;
}

}  // namespace wan
