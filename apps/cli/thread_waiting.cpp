#include "thread_waiting.h"

#include <unistd.h>

#include <cstdlib>

namespace wan {

void restart_with_short_spins(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  if (::setenv("GOMP_SPINCOUNT", "1000", /*overwrite=*/1) == 0) ::execv("/proc/self/exe", argv);
  // Returns where it cannot be started anew: slower on a busy machine, and right all the same.
}

}  // namespace wan
