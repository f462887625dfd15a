#pragma once
// Shape: up to six extents by value, so that views are made without allocating.

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace wan {

class Shape {
 public:
  static constexpr int kMaxRank = 6;

  Shape() = default;
  /// Throws InvalidArgument for more than kMaxRank extents or a negative one.
  Shape(std::initializer_list<std::int64_t> extents);
  explicit Shape(std::span<const std::int64_t> extents);
  /// Strides instead, which may be negative.
  static Shape of_strides(std::span<const std::int64_t> strides);

  int rank() const { return rank_; }
  /// Negative indexes count from the end. Throws Internal when out of range.
  std::int64_t operator[](int index) const {
    const int positive = index < 0 ? index + rank_ : index;
    if (positive < 0 || positive >= rank_) fail_index(index);
    return extents_[static_cast<std::size_t>(positive)];
  }
  /// Product of the extents (1 for rank 0); throws InvalidArgument on overflow.
  std::int64_t elements() const;
  std::span<const std::int64_t> extents() const { return {extents_.data(), static_cast<std::size_t>(rank_)}; }
  /// "[2, 3]"
  std::string to_string() const;

  friend bool operator==(const Shape& a, const Shape& b) {
    return a.rank_ == b.rank_ && a.extents_ == b.extents_;
  }

 private:
  [[noreturn]] void fail_index(int index) const;

  std::array<std::int64_t, kMaxRank> extents_{};
  int rank_ = 0;
};

}  // namespace wan
