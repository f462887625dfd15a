#include "backends/cuda/copy_queue.h"

namespace wan::cuda {

void EventMark::wait() const {
  const CurrentDevice there(device_);
  event_.synchronize();
}

void enqueue_copy(int device, const TensorView& from, const TensorView& to, cudaStream_t stream) {
  const RowCopy copy = row_copy(from, to);
  if (copy.rows == 0 || copy.from == copy.to) return;
  const CurrentDevice here(device);
  WAN_CUDA(cudaMemcpy2DAsync(copy.to, copy.to_pitch, copy.from, copy.from_pitch, copy.row_bytes, copy.rows,
                             cudaMemcpyDefault, stream));
}

StreamCopies::~StreamCopies() {
  // Nothing that is copied may go under a copy that runs.
  const CurrentDevice here(device_, std::nothrow);
  cudaStreamSynchronize(stream_);
}

void StreamCopies::wait_for(const WorkMark& mark) {
  const auto* const event = dynamic_cast<const EventMark*>(&mark);
  if (event == nullptr) return mark.wait();
  const CurrentDevice here(device_);
  WAN_CUDA(cudaStreamWaitEvent(stream_, event->event()));
}

void StreamCopies::copy(const TensorView& from, const TensorView& to) {
  enqueue_copy(device_, from, to, stream_);
}

std::shared_ptr<const WorkMark> StreamCopies::mark() {
  const CurrentDevice here(device_);
  return std::make_shared<const EventMark>(device_, stream_);
}

}  // namespace wan::cuda
