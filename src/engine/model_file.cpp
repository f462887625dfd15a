#include "engine/model_file.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "json/json_text.h"

namespace wan {

namespace {

std::string little_endian(std::uint64_t value, int bytes) {
  std::string text;
  for (int byte = 0; byte < bytes; ++byte) text += static_cast<char>(value >> (8 * byte) & 0xff);
  return text;
}

std::string gguf_text(const std::string& text) {
  return little_endian(text.size(), 8) + text;
}

std::int64_t size_of(const ModelTensor& tensor) {
  return static_cast<std::int64_t>(dtype_bytes(tensor.dtype, tensor.shape.elements()));
}

const char* safetensors_dtype(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kF16:
      return "F16";
    case DType::kBF16:
      return "BF16";
    case DType::kF8E4M3:
      return "F8_E4M3";
    case DType::kI8:
      return "I8";
    default:
      fail(ErrorCode::kInternal, "[convert] {} in a safetensors file", dtype_name(dtype));
  }
}

std::uint32_t gguf_type(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return 0;
    case DType::kF16:
      return 1;
    case DType::kQ4_0:
      return 2;
    case DType::kQ8_0:
      return 8;
    case DType::kBF16:
      return 30;
    default:
      fail(ErrorCode::kInternal, "[convert] {} in a GGUF file", dtype_name(dtype));
  }
}

}  // namespace

ModelFile safetensors_model(std::vector<ModelTensor> tensors, const std::string& conversion) {
  nlohmann::ordered_json header = {{"__metadata__", {{"format", "pt"}, {kConversionKey, conversion}}}};
  std::int64_t offset = 0;
  for (ModelTensor& tensor : tensors) {
    const std::span<const std::int64_t> extents = tensor.shape.extents();
    const std::int64_t end = offset + size_of(tensor);
    header[tensor.name] = {{"dtype", safetensors_dtype(tensor.dtype)},
                           {"shape", std::vector<std::int64_t>(extents.begin(), extents.end())},
                           {"data_offsets", {offset, end}}};
    tensor.offset = offset;
    offset = end;
  }
  std::string text = json_text(header);
  text.append((8 - text.size() % 8) % 8, ' ');
  ModelFile file{.header = little_endian(text.size(), 8) + text, .tensors = std::move(tensors)};
  const auto begin = static_cast<std::int64_t>(file.header.size());
  for (ModelTensor& tensor : file.tensors) tensor.offset += begin;
  file.bytes = begin + offset;
  return file;
}

ModelFile gguf_model(std::vector<ModelTensor> tensors, const std::string& conversion) {
  constexpr std::int64_t kAlignment = 32;
  constexpr std::uint64_t kText = 8;  // a value's type
  const auto aligned = [](std::int64_t offset) {
    return (offset + kAlignment - 1) / kAlignment * kAlignment;
  };
  std::string header = "GGUF" + little_endian(3, 4) + little_endian(tensors.size(), 8) + little_endian(2, 8);
  header += gguf_text("general.architecture") + little_endian(kText, 4) + gguf_text("wan");
  header += gguf_text(kConversionKey) + little_endian(kText, 4) + gguf_text(conversion);
  std::int64_t offset = 0;
  for (ModelTensor& tensor : tensors) {
    header += gguf_text(tensor.name) + little_endian(static_cast<std::uint64_t>(tensor.shape.rank()), 4);
    for (int i = tensor.shape.rank(); i-- > 0;)
      header += little_endian(static_cast<std::uint64_t>(tensor.shape[i]), 8);
    tensor.offset = aligned(offset);
    header += little_endian(gguf_type(tensor.dtype), 4) +
              little_endian(static_cast<std::uint64_t>(tensor.offset), 8);
    offset = tensor.offset + size_of(tensor);
  }
  const auto begin = aligned(static_cast<std::int64_t>(header.size()));
  header.resize(static_cast<std::size_t>(begin));
  for (ModelTensor& tensor : tensors) tensor.offset += begin;
  return {.header = std::move(header), .tensors = std::move(tensors), .bytes = begin + offset};
}

}  // namespace wan
