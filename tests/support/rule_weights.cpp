#include "support/rule_weights.h"

#include <cmath>
#include <cstdint>
#include <fstream>
#include <span>
#include <sstream>
#include <utility>

namespace wan::test {

namespace {

std::uint64_t split_mix(std::uint64_t value) {
  value += 0x9E3779B97F4A7C15u;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
  return value ^ (value >> 31);
}

void fill_by_rule(const std::string& name, double offset, double scale, const TensorView& values) {
  std::uint64_t seed = 0xCBF29CE484222325u;
  for (const char c : name) seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  seed = split_mix(seed);
  const std::span<float> numbers(values.as<float>(), static_cast<std::size_t>(values.elements()));
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const std::uint64_t bits = split_mix(seed + i) >> 40;
    numbers[i] = static_cast<float>(offset + scale * (std::ldexp(static_cast<double>(bits), -23) - 1.0));
  }
}

}  // namespace

RuleWeights::RuleWeights(const std::filesystem::path& list) {
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

void RuleWeights::add(const std::string& name, double offset, double scale, const Shape& shape) {
  memory_.emplace_back(DType::kF32, shape);
  fill_by_rule(name, offset, scale, memory_.back());
  names_.push_back(name);
}

void RuleWeights::drop(const std::string& name) {
  for (std::string& kept : names_)
    if (kept == name) kept.clear();
}

std::vector<std::string> RuleWeights::names(const std::string& prefix) const {
  std::vector<std::string> found;
  for (const std::string& name : names_)
    if (name.starts_with(prefix)) found.push_back(name);
  return found;
}

const TensorView& RuleWeights::at(const std::string& name) const {
  for (std::size_t i = 0; i < names_.size(); ++i)
    if (names_[i] == name) return memory_[i].view();
  fail(ErrorCode::kInternal, "no weight {}", name);
}

Checkpoint RuleWeights::checkpoint() const {
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

}  // namespace wan::test
