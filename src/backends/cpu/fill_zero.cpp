#include "ops/fill_zero.h"

#include "backends/cpu/backend_impl.h"

namespace wan {

bool has_kernel(const CpuBackend&, const FillZeroArgs&) {
  return true;
}

void run_kernel(CpuBackend&, ExecContext&, const FillZeroArgs& args) {
  reference(args);  // runs of memory are cleared as fast as anything could
}

}  // namespace wan
