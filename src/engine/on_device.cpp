#include "engine/on_device.h"

namespace wan {

WeightTarget target_of(Backend& backend, DType compute) {
  WeightTarget target{.allocator = &backend.allocator(), .compute_dtype = compute};
  if (backend.device().kind != DeviceKind::kCpu)
    target.upload = [&backend](const UploadSource& source, const TensorView& device) {
      backend.upload_from(source, device);
    };
  return target;
}

ResidencyOptions on_device(ResidencyOptions residency, Backend& backend) {
  residency.copy = [&backend](const TensorView& from, const TensorView& to) {
    backend.copy_beside(from, to);
  };
  if (backend.device().kind == DeviceKind::kCpu) return residency;
  residency.mark_use = [&backend]() -> std::function<void()> {
    const std::shared_ptr<const WorkMark> mark = backend.mark_work();
    if (!mark) return {};
    return [mark] { mark->wait(); };
  };
  // Beside other work: resident blocks may take memory that such work still uses, and stay in its order.
  if (residency.kind == ResidencyKind::kStreamed) {
    residency.threads = 0;  // the device computes, the processors are free
    residency.upload = [&backend](const UploadSource& source, const TensorView& device) {
      backend.upload_beside(source, device);
    };
  }
  return residency;
}

}  // namespace wan
