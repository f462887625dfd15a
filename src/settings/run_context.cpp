#include "settings/run_context.h"

namespace wan {

void RunContext::check_cancelled() const {
  WAN_CHECK(!exec.agree(cancelled != nullptr && cancelled->load()), kCancelled, "stopped on request");
}

}  // namespace wan
