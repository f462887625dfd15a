#pragma once
// Weights that are not stored but follow a rule from their names: tools/golden/make_sam2.py's rule_values().

#include <cmath>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tensor/tensor.h"
#include "weights/checkpoint.h"

namespace wan::test {

inline std::uint64_t split_mix(std::uint64_t value) {
  value += 0x9E3779B97F4A7C15u;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
  return value ^ (value >> 31);
}

/// Uniform round `offset`, within `scale` of it.
inline void fill_by_rule(const std::string& name, double offset, double scale, const TensorView& values) {
  std::uint64_t seed = 0xCBF29CE484222325u;
  for (const char c : name) seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  seed = split_mix(seed);
  for (std::int64_t i = 0; i < values.elements(); ++i) {
    const std::uint64_t bits = split_mix(seed + static_cast<std::uint64_t>(i)) >> 40;
    values.as<float>()[i] =
        static_cast<float>(offset + scale * (std::ldexp(static_cast<double>(bits), -23) - 1.0));
  }
}

/// What a text file lists, a tensor a line: name, offset, scale, dimensions.
class RuleWeights {
 public:
  explicit RuleWeights(const std::filesystem::path& list) {
    std::ifstream file(list);
    for (std::string line; std::getline(file, line);) {
      std::istringstream words(line);
      std::string name;
      double offset = 0.0, scale = 0.0;
      words >> name >> offset >> scale;
      std::vector<std::int64_t> extents;
      for (std::int64_t extent; words >> extent;) extents.push_back(extent);
      add(name, offset, scale, Shape(std::span<const std::int64_t>(extents)));
    }
  }
  RuleWeights() = default;

  void add(const std::string& name, double offset, double scale, const Shape& shape) {
    memory_.emplace_back(DType::kF32, shape);
    fill_by_rule(name, offset, scale, memory_.back());
    names_.push_back(name);
  }
  void drop(const std::string& name) {
    for (std::size_t i = 0; i < names_.size(); ++i)
      if (names_[i] == name) names_[i].clear();
  }
  std::vector<std::string> names(const std::string& prefix) const {
    std::vector<std::string> found;
    for (const std::string& name : names_)
      if (name.starts_with(prefix)) found.push_back(name);
    return found;
  }
  const TensorView& at(const std::string& name) const {
    for (std::size_t i = 0; i < names_.size(); ++i)
      if (names_[i] == name) return memory_[i].view();
    fail(ErrorCode::kInternal, "no weight {}", name);
  }

  /// Of this object's memory.
  Checkpoint checkpoint() const {
    std::vector<TensorEntry> entries;
    for (std::size_t i = 0; i < names_.size(); ++i)
      if (const TensorView& view = memory_[i].view(); !names_[i].empty())
        entries.push_back({.name = names_[i],
                           .dtype = DType::kF32,
                           .shape = view.shape(),
                           .strides = contiguous_strides(view.shape()),
                           .storage = {view.data(), view.bytes()},
                           .file = "made.pt"});
    return Checkpoint::from_files({{.tensors = std::move(entries), .metadata = {}}}, "made.pt");
  }

 private:
  std::deque<Tensor> memory_;
  std::vector<std::string> names_;  // empty where it was dropped
};

}  // namespace wan::test
