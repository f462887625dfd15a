#include "onnx/tensor_reader.h"

#include <charconv>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "onnx/wire.h"

namespace wan::onnx {

namespace {

/// What a TensorProto says.
struct Fields {
  std::string name;
  std::vector<std::int64_t> dims;
  std::int64_t type = 0;
  std::optional<std::span<const std::byte>> raw;
  std::vector<float> floats;
  std::vector<double> doubles;
  std::vector<std::int64_t> integers;  // of int32_data and int64_data
  bool external = false;
  std::string location;
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> length;
};

std::uint64_t number_of(const std::string& text, const std::string& where) {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  WAN_CHECK(error == std::errc() && stop == end, kBadFile, "[{}] {} is no number of bytes: {}", where,
            quote_name(text), kDamagedModel);
  return value;
}

void read_external_entry(std::span<const std::byte> bytes, const std::string& where, Fields& to) {
  std::string key;
  std::string value;
  WireReader reader(bytes, where);
  for (WireField field; reader.next(field);) {
    if (field.number == 1) key = text_of(field, where);
    if (field.number == 2) value = text_of(field, where);
  }
  if (key == "location") to.location = value;
  if (key == "offset") to.offset = number_of(value, where);
  if (key == "length") to.length = number_of(value, where);
}

Fields read_fields(std::span<const std::byte> bytes, const std::string& where) {
  Fields read;
  WireReader reader(bytes, where);
  for (WireField field; reader.next(field);) {
    switch (field.number) {
      case 1:
        append_integers(field, where, read.dims);
        break;
      case 2:
        read.type = integer_of(field, where);
        break;
      case 3:
        fail(ErrorCode::kBadFile, "[{}] tensors in segments are not taken; save the model again", where);
      case 4:
        append_floats(field, where, read.floats);
        break;
      case 5:
      case 7:
        append_integers(field, where, read.integers);
        break;
      case 8:
        read.name = text_of(field, where);
        break;
      case 9:
        read.raw = bytes_of(field, where);
        break;
      case 10:
        append_doubles(field, where, read.doubles);
        break;
      case 13:
        read_external_entry(bytes_of(field, where), where, read);
        break;
      case 14:
        read.external = integer_of(field, where) == 1;
        break;
      default:
        break;
    }
  }
  return read;
}

template <typename To, typename From>
HostTensor converted(const Fields& fields, DType dtype, const Shape& shape, const std::vector<From>& values,
                     const std::string& where) {
  const auto count = static_cast<std::size_t>(shape.elements());
  WAN_CHECK(values.size() == count, kBadFile, "[{}] {} has {} values, its shape {} says {}: {}", where,
            quote_name(fields.name), values.size(), shape.to_string(), count, kDamagedModel);
  HostTensor made(dtype, shape);
  To* to = made.fill<To>();
  for (std::size_t i = 0; i < count; ++i) to[i] = static_cast<To>(values[i]);
  return made;
}

/// From the typed fields, which hold small types as 32-bit integers: f16 and bf16 as their bits.
HostTensor typed_values(const Fields& fields, DType dtype, const Shape& shape, const std::string& where) {
  switch (dtype) {
    case DType::kF32:
      return converted<float>(fields, dtype, shape, fields.floats, where);
    case DType::kF64:
      return converted<double>(fields, dtype, shape, fields.doubles, where);
    case DType::kI64:
      return converted<std::int64_t>(fields, dtype, shape, fields.integers, where);
    case DType::kI32:
      return converted<std::int32_t>(fields, dtype, shape, fields.integers, where);
    case DType::kI16:
    case DType::kF16:
    case DType::kBF16:
      return converted<std::uint16_t>(fields, dtype, shape, fields.integers, where);
    default:
      return converted<std::uint8_t>(fields, dtype, shape, fields.integers, where);
  }
}

}  // namespace

DType dtype_of_onnx(std::int64_t type, const std::string& where) {
  switch (type) {
    case 1:
      return DType::kF32;
    case 2:
      return DType::kU8;
    case 3:
      return DType::kI8;
    case 5:
      return DType::kI16;
    case 6:
      return DType::kI32;
    case 7:
      return DType::kI64;
    case 9:
      return DType::kBool;
    case 10:
      return DType::kF16;
    case 11:
      return DType::kF64;
    case 16:
      return DType::kBF16;
    default:
      fail(ErrorCode::kBadFile, "[{}] values of ONNX's type {} are not taken; export the model in float32",
           where, type);
  }
}

Shape shape_of(std::span<const std::int64_t> dims, const std::string& where) {
  WAN_CHECK(dims.size() <= Shape::kMaxRank, kBadFile, "[{}] a tensor of {} dimensions, {} at most", where,
            dims.size(), Shape::kMaxRank);
  for (const std::int64_t dim : dims)
    WAN_CHECK(dim >= 0, kBadFile, "[{}] a tensor with an extent of {}: {}", where, dim, kDamagedModel);
  try {
    const Shape shape(dims);
    // Its bytes, in the widest type, can be counted too.
    static_cast<void>(dtype_bytes(DType::kF64, shape.elements()));
    return shape;
  } catch (const Error&) {
    fail(ErrorCode::kBadFile, "[{}] a tensor of more elements than can be counted: {}", where, kDamagedModel);
  }
}

NamedTensor read_tensor(std::span<const std::byte> bytes, const TensorSource& source) {
  const std::string& where = source.where;
  const Fields fields = read_fields(bytes, where);
  const DType dtype = dtype_of_onnx(fields.type, where);
  const Shape shape = shape_of(fields.dims, where);
  const std::size_t wanted = dtype_bytes(dtype, shape.elements());
  const auto check_size = [&](std::size_t size) {
    WAN_CHECK(size == wanted, kBadFile, "[{}] {} has {} bytes, its shape {} says {}: {}", where,
              quote_name(fields.name), size, shape.to_string(), wanted, kDamagedModel);
  };
  NamedTensor made{fields.name, {}};
  if (fields.external) {
    check_size(static_cast<std::size_t>(fields.length.value_or(wanted)));
    const auto part = source.external.part(fields.location, fields.offset, wanted);
    made.values = wanted == 0 ? HostTensor(dtype, shape) : HostTensor(dtype, shape, part.data, part.file);
  } else if (fields.raw) {
    check_size(fields.raw->size());
    made.values =
        wanted == 0 ? HostTensor(dtype, shape) : HostTensor(dtype, shape, fields.raw->data(), source.keep);
  } else {
    made.values = typed_values(fields, dtype, shape, where);
  }
  return made;
}

}  // namespace wan::onnx
