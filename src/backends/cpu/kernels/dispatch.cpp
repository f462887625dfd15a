// Which kernel table this processor gets. Compiled for the baseline.

#include <cstdlib>
#include <string_view>

#include "backends/cpu/kernels/kernels.h"
#include "base/error.h"

namespace wan {

namespace cpu_baseline {
CpuKernels make_table();
}
#if defined(WAN_CPU_HAS_X86_KERNELS)
namespace cpu_avx2 {
CpuKernels make_table();
}
namespace cpu_avx512 {
CpuKernels make_table();
}
#endif

int supported_cpu_kernels(const CpuKernels** tables, int capacity) {
  int count = 0;
  const auto add = [&](const CpuKernels& table) {
    if (count < capacity) tables[count++] = &table;
  };
  static const CpuKernels baseline = cpu_baseline::make_table();
  add(baseline);
#if defined(WAN_CPU_HAS_X86_KERNELS)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    static const CpuKernels avx2 = cpu_avx2::make_table();
    add(avx2);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
      static const CpuKernels avx512 = cpu_avx512::make_table();
      add(avx512);
    }
  }
#endif
  return count;
}

const CpuKernels& cpu_kernels() {
  static const CpuKernels& chosen = []() -> const CpuKernels& {
    const CpuKernels* tables[4];
    const int count = supported_cpu_kernels(tables, 4);
    const char* asked = std::getenv("WAN_CPU_ISA");
    if (asked == nullptr || *asked == '\0') return *tables[count - 1];
    for (int i = 0; i < count; ++i)
      if (std::string_view(tables[i]->name) == asked) return *tables[i];
    fail(ErrorCode::kInvalidArgument,
         "[cpu] WAN_CPU_ISA={} is not available here; this processor runs up to {}", asked,
         tables[count - 1]->name);
  }();
  return chosen;
}

}  // namespace wan
