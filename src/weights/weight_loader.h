#pragma once
// WeightLoader: brings a tensor of a checkpoint into memory of a device, in the dtype asked for.

#include <functional>
#include <optional>
#include <span>

#include "tensor/tensor.h"
#include "weights/tensor_entry.h"
#include "weights/weight_spec.h"

namespace wan {

/// Fills `device` with what `source` writes; called from several threads at once for different memory. See Backend::upload_from.
using WeightUpload = std::function<void(const UploadSource& source, const TensorView& device)>;

/// What one thread fills of a weight at a time: large enough for a bus, small enough that many fit in page-locked memory.
inline constexpr std::size_t kWeightPieceBytes = std::size_t{4} << 20;

/// Where weights go.
struct WeightTarget {
  Allocator* allocator = &cpu_allocator();
  DType compute_dtype = DType::kF32;
  /// Needed when the allocator is not the host's; not called otherwise.
  WeightUpload upload{};
  /// Fills `destination` from a checkpoint's tensor instead of conversion on the host and upload: where the device has the tensor's values already. Empty: by those. Whole tensors only.
  std::function<void(const TensorView& source, const TensorView& destination)> fill{};
  /// For reading, conversion and upload; 0: an equal part of as many as OpenMP would take, of so many loaders that load at one time.
  int threads = 0;
  int loaders = 1;
};

/// `destination` (row-major, on the target's device) is to be filled from `entry`, which has its shape, or with as many elements of it
/// from the row-major index `first` on.
struct WeightLoad {
  const TensorEntry& entry;
  TensorView destination;
  std::int64_t first = 0;
  /// `destination` is u8, and takes as many bytes of the weight in this packed dtype, from its byte `first` on.
  std::optional<DType> packed = {};
};

class WeightLoader {
 public:
  /// Throws Internal when the target is a device and has no upload.
  explicit WeightLoader(WeightTarget target);

  /// In pieces, whichever weight they are of, so that threads read, convert and upload beside each other; returns when all are
  /// done. Throws what converting or uploading the first piece that failed threw.
  void load(std::span<const WeightLoad> weights) const;

  const WeightTarget& target() const { return target_; }

 private:
  WeightTarget target_;
};

}  // namespace wan
