#include "ops/linear_combination.h"

#include <array>

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/parallel_for.h"

namespace wan {

bool has_kernel(const CpuBackend&, const LinearCombinationArgs&) {
  return true;
}

void run_kernel(CpuBackend& cpu, ExecContext&, const LinearCombinationArgs& args) {
  std::array<float, 8> coefficients{};
  const int terms = static_cast<int>(args.terms.size());
  for (int i = 0; i < terms; ++i)
    coefficients[static_cast<std::size_t>(i)] =
        static_cast<float>(args.terms[static_cast<std::size_t>(i)].coefficient);
  const std::int64_t count = args.out.elements();
  parallel_for(useful_threads(cpu.threads(), count), count, 64, [&](std::int64_t begin, std::int64_t end) {
    std::array<const float*, 8> x{};
    for (int i = 0; i < terms; ++i)
      x[static_cast<std::size_t>(i)] = args.terms[static_cast<std::size_t>(i)].x.as<float>() + begin;
    cpu.kernels().combine(x.data(), coefficients.data(), terms, args.out.as<float>() + begin, end - begin);
  });
}

}  // namespace wan
