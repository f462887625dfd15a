#pragma once
// Tensor owns a contiguous buffer; TensorView is what ops take: a pointer, dtype, shape and strides, owning
// nothing.

#include <functional>
#include <utility>

#include "base/error.h"
#include "tensor/buffer.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace wan {

/// A non-owning view. Strides count elements, not bytes. A packed one is made of whole blocks, and so is every slice of it. A view may be written through unless an op's
/// contract says that it only reads it; whoever makes a view of read-only memory (a mapped file) passes it to
/// reading arguments only.
class TensorView {
 public:
  TensorView() = default;
  /// Row-major contiguous.
  TensorView(void* data, DType dtype, const Shape& shape, Device device = {});
  TensorView(void* data, DType dtype, const Shape& shape, const Shape& strides, Device device);

  bool empty() const { return data_ == nullptr; }
  explicit operator bool() const { return data_ != nullptr; }
  std::byte* data() const { return static_cast<std::byte*>(data_); }
  /// Typed pointer; throws Internal when T is not the dtype.
  template <typename T>
  T* as() const {
    WAN_CHECK(dtype_of<T>() == dtype_, kInternal, "[TensorView] accessed as {}, holds {}",
              dtype_name(dtype_of<T>()), dtype_name(dtype_));
    return static_cast<T*>(data_);
  }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  std::int64_t dim(int index) const { return shape_[index]; }
  int rank() const { return shape_.rank(); }
  std::int64_t stride(int index) const { return strides_[index]; }
  const Shape& strides() const { return strides_; }
  std::int64_t elements() const { return shape_.elements(); }
  std::size_t bytes() const { return dtype_bytes(dtype_, elements()); }
  Device device() const { return device_; }
  bool is_contiguous() const;

  /// Elements [begin, end) of dimension `dim`.
  TensorView slice(int dim, std::int64_t begin, std::int64_t end) const;
  /// Drops dimension `dim` at position `index`.
  TensorView select(int dim, std::int64_t index) const;
  /// Same elements under another shape; the view must be contiguous.
  TensorView reshape(const Shape& shape) const;
  /// Dimension `dim` backwards, by a negative stride.
  TensorView flip(int dim) const;
  /// Dimensions in another order: permute({1, 0}) transposes a matrix.
  TensorView permute(std::initializer_list<int> order) const;

 private:
  /// So many elements from the first.
  std::byte* at(std::int64_t element) const;

  void* data_ = nullptr;
  DType dtype_ = DType::kF32;
  Shape shape_;
  Shape strides_;
  Device device_;
};

/// Writes bytes [first, first + count) of a row-major tensor to `host`: what goes to a device piece by piece, without a whole
/// copy of it on the host. May be called from several threads at once.
using UploadSource = std::function<void(std::byte* host, std::size_t first, std::size_t count)>;

/// What a contiguous view on the host holds; the view's memory must stay.
UploadSource upload_source(const TensorView& host);

/// Row-major strides of a shape.
Shape contiguous_strides(const Shape& shape);

class Tensor {
 public:
  Tensor() = default;
  /// Allocates; contents undefined. Throws OutOfMemory or InvalidArgument (overflow).
  Tensor(Allocator& allocator, DType dtype, const Shape& shape);
  /// Host memory.
  Tensor(DType dtype, const Shape& shape) : Tensor(cpu_allocator(), dtype, shape) {}
  /// What is moved from is empty.
  Tensor(Tensor&& other) noexcept
      : buffer_(std::move(other.buffer_)), view_(std::exchange(other.view_, TensorView())) {}
  Tensor& operator=(Tensor&& other) noexcept {
    buffer_ = std::move(other.buffer_);
    view_ = std::exchange(other.view_, TensorView());
    return *this;
  }

  bool empty() const { return !view_; }
  const TensorView& view() const { return view_; }
  operator const TensorView&() const { return view_; }  // NOLINT: an owner is used wherever a view is
  template <typename T>
  T* as() const {
    return view_.as<T>();
  }
  const Shape& shape() const { return view_.shape(); }
  DType dtype() const { return view_.dtype(); }
  std::int64_t dim(int index) const { return view_.dim(index); }
  std::int64_t elements() const { return view_.elements(); }
  std::size_t bytes() const { return buffer_.size(); }

 private:
  Buffer buffer_;
  TensorView view_;
};

}  // namespace wan
