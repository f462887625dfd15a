#pragma once
// NumPy's .npy files (format 1.0 and 2.0; little-endian float32, float64, int64, uint8; C order).
// Format: numpy/lib/format.py, "Format Version 1.0" and "2.0".

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"
#include "media/raw_file.h"

namespace wan {

enum class NpyType { kF32, kF64, kI64, kU8 };

/// Bytes of one element.
std::size_t npy_item_size(NpyType type);
/// The name that NumPy writes: "<f4", "<f8", "<i8", "|u1".
const char* npy_descr(NpyType type);

template <typename T>
struct NpyTypeOf;
template <>
struct NpyTypeOf<float> {
  static constexpr NpyType value = NpyType::kF32;
};
template <>
struct NpyTypeOf<double> {
  static constexpr NpyType value = NpyType::kF64;
};
template <>
struct NpyTypeOf<std::int64_t> {
  static constexpr NpyType value = NpyType::kI64;
};
template <>
struct NpyTypeOf<std::uint8_t> {
  static constexpr NpyType value = NpyType::kU8;
};

/// An array inside the bytes of a file; `data` need not be aligned.
struct NpyView {
  NpyType type = NpyType::kF32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;

  std::int64_t size() const { return static_cast<std::int64_t>(data.size() / npy_item_size(type)); }

  /// A copy of the elements. Throws BadFile when T is not the file's type.
  template <typename T>
  std::vector<T> values() const {
    WAN_CHECK(type == NpyTypeOf<T>::value, kBadFile, "[npy] expected elements of type {}, got {}",
              npy_descr(NpyTypeOf<T>::value), npy_descr(type));
    std::vector<T> result(data.size() / sizeof(T));
    if (!data.empty()) std::memcpy(result.data(), data.data(), data.size());
    return result;
  }
};

/// Reads the header in `bytes` and checks that exactly its elements follow. Nothing is allocated from sizes
/// in the file. Throws BadFile, or Unsupported for valid files of another element type or order; both name
/// `name`.
NpyView parse_npy(std::span<const std::byte> bytes, std::string_view name);

/// A memory-mapped .npy file; view() lives as long as it.
class NpyFile {
 public:
  explicit NpyFile(const std::filesystem::path& path)
      : file_(path), view_(parse_npy(file_.bytes(), path.string())) {}
  const NpyView& view() const { return view_; }

 private:
  MappedFile file_;
  NpyView view_;
};

/// Writes an array of known shape whose elements come in pieces. The file appears when finish() has been
/// called, not before. Errors in writing are Io; pieces beyond the shape, or an array that is not full at
/// finish(), are Internal.
class NpyWriter {
 public:
  NpyWriter(const std::filesystem::path& path, NpyType type, std::span<const std::int64_t> shape);

  /// The next elements in C order.
  template <typename T>
  void append(std::span<const T> values) {
    write_at(next_, values);
  }

  /// Elements from index `first` (in C order) on; for arrays that do not come in order, such as the frames of
  /// a [3, F, H, W] video. append() goes on behind them. Each element is to be written once.
  template <typename T>
  void write_at(std::int64_t first, std::span<const T> values) {
    WAN_ASSERT(type_ == NpyTypeOf<T>::value);
    write_bytes(first, std::as_bytes(values));
  }

  void finish();

 private:
  void write_bytes(std::int64_t first, std::span<const std::byte> bytes);

  RawFile file_;
  NpyType type_;
  std::int64_t size_ = 0;         // elements of the whole array
  std::int64_t next_ = 0;         // where append() writes
  std::int64_t written_ = 0;      // elements so far
  std::int64_t data_offset_ = 0;  // bytes before the first element
};

/// Writes a whole array at once.
template <typename T>
void write_npy(const std::filesystem::path& path, std::span<const T> values,
               std::span<const std::int64_t> shape) {
  NpyWriter writer(path, NpyTypeOf<T>::value, shape);
  writer.append(values);
  writer.finish();
}

}  // namespace wan
