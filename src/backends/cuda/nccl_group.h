#pragma once
// NcclGroup: a DeviceGroup by NCCL. No call of it waits for a peer: what has to is asked again and again, so that a peer that is gone ends
// a rank and does not hold it.

#include <mutex>

#include "backends/cuda/wait_times.h"
#include "tensor/device_group.h"

namespace wan::cuda {

DeviceGroupId make_nccl_id();

class NcclGroup final : public DeviceGroup {
 public:
  /// Of CUDA device `device`, whose work is on stream `work`; both outlive it. Begins to connect: see is_ready().
  NcclGroup(int device, cudaStream_t work, const DeviceGroupId& id, int rank, int size);
  ~NcclGroup() override;
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;

  bool is_ready() override;
  std::shared_ptr<const WorkMark> exchange(std::span<const Transfer> send, std::span<const Transfer> receive,
                                           const std::function<void()>& wait) override;
  std::optional<std::uint64_t> under_way() override;
  void abort() noexcept override;
  bool is_aborted() const override;
  void begin_end() noexcept override;

 private:
  /// What the last call has come to, kNcclInProgress or kNcclSuccess. Throws what failed.
  int state();
  /// Throws Device unless `result` is success or in progress.
  void check(int result, const char* call) const;

  int device_;
  cudaStream_t work_;
  std::optional<Stream> stream_;  // of the exchanges
  mutable std::mutex mutex_;      // of comm_: NCCL takes one call at a time
  void* comm_ = nullptr;          // none once aborted
  bool ending_ = false;
  WaitTimes times_;
};

}  // namespace wan::cuda
