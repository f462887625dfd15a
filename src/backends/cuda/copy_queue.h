#pragma once
// Copies in the order of a stream, and the marks of streams.

#include "backends/cuda/handles.h"
#include "tensor/compute_device.h"

namespace wan::cuda {

/// The device must be current where it is made.
class EventMark final : public WorkMark {
 public:
  EventMark(int device, cudaStream_t stream) : device_(device) { event_.record(stream); }
  void wait() const override;
  cudaEvent_t event() const { return event_; }

 private:
  int device_;
  Event event_;
};

/// Views as row_copy() takes them. Those of the same memory and empty ones are left alone.
void enqueue_copy(int device, const TensorView& from, const TensorView& to, cudaStream_t stream);

/// A stream of its own. The device must be current where it is made.
class StreamCopies final : public CopyQueue {
 public:
  explicit StreamCopies(int device) : device_(device) {}
  ~StreamCopies() override;
  void wait_for(const WorkMark& mark) override;
  void copy(const TensorView& from, const TensorView& to) override;
  std::shared_ptr<const WorkMark> mark() override;

 private:
  int device_;
  Stream stream_;
};

}  // namespace wan::cuda
