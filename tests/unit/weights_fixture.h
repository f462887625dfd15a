#pragma once
// Checkpoints in memory, and a device in host memory, for the tests of src/weights/.

#include <cstring>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "weights/checkpoint.h"
#include "weights/weight_loader.h"

namespace wan::test {

/// Tensors whose elements are first, first + 1, ...; the memory lives as long as the maker.
class CheckpointMaker {
 public:
  void add(const std::string& name, const Shape& shape, float first, DType dtype = DType::kF32) {
    std::string& bytes =
        memory_.emplace_back(dtype_bytes(dtype, shape.elements()), '\0');  // of i64 they stay 0
    for (std::int64_t i = 0; i < shape.elements(); ++i) {
      const float value = first + static_cast<float>(i);
      if (dtype == DType::kF32) reinterpret_cast<float*>(bytes.data())[i] = value;
      if (dtype == DType::kBF16) reinterpret_cast<BF16*>(bytes.data())[i] = to_bf16(value);
    }
    file_.tensors.push_back({name,
                             dtype,
                             shape,
                             contiguous_strides(shape),
                             {reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()},
                             "memory"});
  }
  Checkpoint make() const { return Checkpoint::from_files({file_}, "memory"); }

 private:
  std::deque<std::string> memory_;
  CheckpointFile file_;
};

/// Host memory that calls itself a device, so that uploads are needed; counts what is held.
class FakeDevice final : public Allocator {
 public:
  Device device() const override { return {DeviceKind::kCuda, 0}; }
  std::byte* allocate(std::size_t bytes) override {
    held += bytes;
    return cpu_allocator().allocate(bytes);
  }
  void release(std::byte* data, std::size_t bytes) noexcept override {
    held -= bytes;
    cpu_allocator().release(data, bytes);
  }
  /// Copies, after calling `before_upload` if there is one.
  WeightTarget target(DType compute_dtype, std::function<void()> before_upload = {}) {
    return {.allocator = this,
            .compute_dtype = compute_dtype,
            .upload = [before_upload](const UploadSource& source, const TensorView& device) {
              if (before_upload) before_upload();
              source(device.data(), 0, device.bytes());
            }};
  }
  std::size_t held = 0;
};

}  // namespace wan::test
