#pragma once
// Workspace: scratch memory that is taken and given back in stack order, and that stops allocating after the
// first pass.

#include <cstddef>
#include <vector>

#include "tensor/tensor.h"

namespace wan {

/// An arena. Memory taken inside a Scope returns when the Scope ends. The first pass may grow it by further
/// chunks; when the outermost Scope ends, one of the size that was in use at most takes their place, so that an identical
/// second pass allocates nothing.
/// Not thread-safe: one a rank.
class Workspace {
 public:
  explicit Workspace(Allocator& allocator) : allocator_(&allocator) {}

  class Scope {
   public:
    explicit Scope(Workspace& workspace);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Workspace& workspace_;
    std::size_t chunk_;
    std::size_t offset_;
    std::size_t used_;
  };

  /// Contiguous, 64-byte aligned, contents undefined. Only inside a Scope. Throws OutOfMemory.
  TensorView take(DType dtype, const Shape& shape);
  /// Bytes that take() uses: the elements, rounded up to the alignment. Throws InvalidArgument on overflow.
  static std::size_t padded_bytes(DType dtype, const Shape& shape);
  /// Makes sure that `bytes` in all can be taken from here without another allocation: for a pass whose peak is
  /// known. Outside every Scope, smaller memory is given back first. Throws OutOfMemory.
  void reserve(std::size_t bytes);

  /// Bytes held now, and how often memory was allocated so far (constant from the second identical pass on).
  std::size_t capacity() const;
  int allocations() const { return allocations_; }
  /// The most bytes that were in use at once, or reserved, since the last release().
  std::size_t most() const { return most_; }
  Device device() const { return allocator_->device(); }
  /// Gives all memory back to the device; only outside every Scope.
  void release();

 private:
  void add_chunk(std::size_t bytes);

  Allocator* allocator_;
  std::vector<Buffer> chunks_;
  std::size_t chunk_ = 0;   // chunk in use
  std::size_t offset_ = 0;  // first free byte of it
  std::size_t used_ = 0;    // bytes taken and not given back
  std::size_t most_ = 0;    // of used_ since the last release, or reserved
  int depth_ = 0;
  int allocations_ = 0;
};

}  // namespace wan
