#include "ops/fill_zero.h"

#include "backends/cpu/backend_impl.h"

namespace wan {

bool CpuBackend::supports(const FillZeroArgs&) const {
  return true;
}

void CpuBackend::run(ExecContext&, const FillZeroArgs& args) {
  reference(args);  // runs of memory are cleared as fast as anything could
}

}  // namespace wan
