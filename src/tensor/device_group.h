#pragma once
// DeviceGroup: a device's place among devices of several processes, on one machine or several, that exchange memory without going
// through the hosts'.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace wan {

class WorkMark;

/// Whether a device can be in groups.
struct DeviceGroupSupport {
  std::string library = {};  // by which it exchanges: "NCCL 2.28.9"; empty: it cannot
  std::string reason = {};   // why it cannot
  std::string device = {};   // which no other process has for another device: a group holds each device once
};

/// What the members of one group are given to find one another.
using DeviceGroupId = std::vector<std::byte>;

/// A member. One thread exchanges; the others' calls say so.
class DeviceGroup {
 public:
  struct Transfer {
    int peer = 0;
    TensorView view;  // contiguous, on the device
  };

  virtual ~DeviceGroup() = default;
  /// Whether all members have come; until then nothing is exchanged. Throws Device where they cannot.
  virtual bool is_ready() = 0;
  /// Enqueues, behind the device's work that is enqueued by now and beside what comes later, one exchange: every member calls it, and a
  /// transfer to a peer is the other side of that one's from here. Exchanges are done in their order, and each by the mark that is
  /// returned. `wait` is called, again and again, while the call itself has to wait, and may throw. Throws Device.
  virtual std::shared_ptr<const WorkMark> exchange(std::span<const Transfer> send,
                                                   std::span<const Transfer> receive,
                                                   const std::function<void()>& wait) = 0;
  /// The number of the exchange that the device stands in, others before it being over. From any thread.
  virtual std::optional<std::uint64_t> under_way() = 0;
  /// Ends what is under way, whose data is lost, and every later exchange. From any thread.
  virtual void abort() noexcept = 0;
  virtual bool is_aborted() const = 0;
  /// No exchange comes any more: to be called for all members of a process before the first of them is destroyed.
  virtual void begin_end() noexcept = 0;
};

}  // namespace wan
