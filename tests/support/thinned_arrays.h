#pragma once
// Golden files of clips keep some of an array's values: every n-th along each dimension.

#include <cstring>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <vector>

#include "media/npy.h"
#include "tensor/tensor.h"

namespace wan::test {

/// Of the array with this name in a golden file, clip_RR_ left out.
inline std::vector<std::int64_t> strides_of(const nlohmann::json& strides, const std::string& name,
                                            std::size_t rank) {
  const std::string plain = std::regex_replace(name, std::regex("^clip_[0-9]+_"), "");
  if (!strides.contains(plain)) return std::vector<std::int64_t>(rank, 1);
  return strides[plain];
}

/// The values that a golden file keeps of an array: every n-th along each dimension.
inline Tensor strided_floats(const NpyView& view, const std::vector<std::int64_t>& strides) {
  std::vector<std::int64_t> shape;
  for (std::size_t i = 0; i < view.shape.size(); ++i)
    shape.push_back((view.shape[i] + strides[i] - 1) / strides[i]);
  Tensor result(DType::kF32, Shape(std::span<const std::int64_t>(shape)));
  std::vector<std::int64_t> at(shape.size(), 0);
  for (std::int64_t n = 0; n < result.elements(); ++n) {
    std::int64_t from = 0;
    for (std::size_t i = 0; i < at.size(); ++i) from = from * view.shape[i] + at[i] * strides[i];
    float value = 0;
    if (view.type == NpyType::kF32)
      std::memcpy(&value, view.data.data() + from * 4, 4);
    else
      value = static_cast<float>(std::to_integer<std::uint8_t>(view.data[static_cast<std::size_t>(from)]));
    result.as<float>()[n] = value;
    for (std::size_t i = at.size(); i-- > 0;) {
      if (++at[i] < shape[i]) break;
      at[i] = 0;
    }
  }
  return result;
}

inline Tensor golden_floats(const Tensor& golden) {
  Tensor result(DType::kF32, golden.shape());
  for (std::int64_t i = 0; i < golden.elements(); ++i)
    result.as<float>()[i] = golden.dtype() == DType::kU8 ? static_cast<float>(golden.as<std::uint8_t>()[i])
                                                         : golden.as<float>()[i];
  return result;
}

}  // namespace wan::test
