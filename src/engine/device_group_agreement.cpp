#include "engine/device_group_agreement.h"

#include "base/error.h"

namespace wan {

void DeviceGroupAgreement::add(const DeviceGroupSupport& support, const std::string& process) {
  if (support.library.empty())
    return refuse(support.reason.empty() ? "" : fmt::format("on {} {}", process, support.reason));
  if (library_.empty()) library_ = support.library;
  if (support.library != library_)
    return refuse(fmt::format("{} has {}, others {}", process, support.library, library_));
  if (!devices_.insert(support.device).second)
    refuse(fmt::format("two ranks share a device, one of them on {}", process));
}

}  // namespace wan
