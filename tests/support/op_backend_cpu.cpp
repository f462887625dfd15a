// The CPU's kernels for op tests.

#include "backends/cpu/cpu_backend.h"
#include "support/op_context.h"

namespace wan::test {

OpBackend make_op_backend(int threads) {
  OpBackend made;
  made.backend = make_cpu_backend({.threads = threads});
  return made;
}

}  // namespace wan::test
