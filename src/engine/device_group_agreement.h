#pragma once
// Whether the devices of an engine's processes exchange in groups of their own, which all of them must be able to.

#include <set>
#include <string>

#include "tensor/device_group.h"

namespace wan {

class DeviceGroupAgreement {
 public:
  /// A rank's device, in a process of that name.
  void add(const DeviceGroupSupport& support, const std::string& process);
  void refuse(const std::string& reason) {
    if (reason_.empty()) reason_ = reason;
  }

  /// Why they do not; empty: they do.
  const std::string& reason() const { return reason_; }
  /// By which they do.
  const std::string& library() const { return library_; }

 private:
  std::string reason_;
  std::string library_;
  std::set<std::string> devices_;
};

}  // namespace wan
