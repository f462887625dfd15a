#include "wan/version.h"

namespace wan {

const char* version() noexcept {
  return WAN_VERSION;
}

}  // namespace wan
