#pragma once
// WeightLoader: brings a tensor of a checkpoint into memory of a device, in the dtype and share asked for.

#include <functional>

#include "tensor/tensor.h"
#include "weights/tensor_entry.h"
#include "weights/weight_spec.h"

namespace wan {

/// Copies row-major `host` to `device` (same shape and dtype) and returns when `host` may be reused and
/// `device` may be read by any stream.
using WeightUpload = std::function<void(const TensorView& host, const TensorView& device)>;

/// Where weights go.
struct WeightTarget {
  Allocator* allocator = &cpu_allocator();
  DType compute_dtype = DType::kF32;
  /// Needed when the allocator is not the host's; not called otherwise.
  WeightUpload upload{};
  /// Fills `destination` from a checkpoint's tensor, or this rank's share of it, instead of conversion on the host and
  /// upload: where the device has the tensor's values already. Empty: by those.
  std::function<void(const TensorView& source, const TensorView& destination)> fill{};
  /// For conversions; 0: as many as OpenMP would take.
  int threads = 0;
};

/// Not thread-safe: it keeps the staging memory that uploads go through.
class WeightLoader {
 public:
  /// Throws Internal when the target is a device and has no upload.
  explicit WeightLoader(WeightTarget target);

  /// Fills `destination` (row-major, on the target's device, of the spec's local shape and dtype) from
  /// `entry`, whose shape is the spec's. Throws what the upload throws.
  void load(const TensorEntry& entry, const WeightSpec& spec, const TensorView& destination);

  const WeightTarget& target() const { return target_; }

 private:
  WeightTarget target_;
  Buffer staging_;
};

}  // namespace wan
