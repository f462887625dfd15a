#include "onnx/device_weights.h"

#include "base/error.h"
#include "ops/backend.h"
#include "ops/copy.h"

namespace wan::onnx {

DeviceWeights::DeviceWeights(const Graph& graph, Backend& backend) : graph_(&graph), backend_(&backend) {}

DeviceWeights::Entry DeviceWeights::make(const HostTensor& value, const Arrange& arrange) {
  const Device device = backend_->device();
  const bool on_host = device.kind == DeviceKind::kCpu;
  Entry made;
  // The host's own memory is read where it lies.
  const HostTensor aligned = on_host ? value.aligned() : value;
  Tensor whole;
  TensorView view = aligned.view();
  if (!on_host) {
    // As bytes, for mapped values may lie anywhere.
    const Shape bytes{static_cast<std::int64_t>(value.bytes())};
    whole = Tensor(backend_->allocator(), value.dtype(), value.shape());
    backend_->upload(TensorView(const_cast<std::byte*>(value.data()), DType::kU8, bytes),
                     TensorView(whole.view().data(), DType::kU8, bytes, device));
    view = whole.view();
  }
  const TensorView wanted = arrange(view);
  if (wanted.is_contiguous()) {
    made.view = wanted.reshape(wanted.shape());
    made.host = on_host ? aligned : HostTensor();
    made.device = std::move(whole);
    return made;
  }
  made.device = Tensor(backend_->allocator(), wanted.dtype(), wanted.shape());
  made.view = made.device.view();
  Workspace workspace(backend_->allocator());
  ExecContext ctx{.backend = *backend_, .workspace = workspace, .communicator = communicator_};
  copy(ctx, {wanted, made.view});
  backend_->synchronize();  // before `whole` goes
  return made;
}

TensorView DeviceWeights::get(const Key& key, const HostTensor& value, const Arrange& arrange) {
  const auto found = entries_.find(key);
  if (found != entries_.end()) return found->second.view;
  Entry made = make(value, arrange);
  bytes_ += made.device.bytes();
  return entries_.emplace(key, std::move(made)).first->second.view;
}

}  // namespace wan::onnx
