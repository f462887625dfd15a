#pragma once
// Weights that are not stored but follow a rule from their names: tools/golden/make_sam2.py's rule_values().

#include <deque>
#include <filesystem>
#include <string>
#include <vector>

#include "tensor/tensor.h"
#include "weights/checkpoint.h"

namespace wan::test {

/// What a text file lists, a tensor a line: name, offset, scale, dimensions. Its values are uniform round the offset, within the scale.
class RuleWeights {
 public:
  explicit RuleWeights(const std::filesystem::path& list);
  RuleWeights() = default;

  void add(const std::string& name, double offset, double scale, const Shape& shape);
  void drop(const std::string& name);
  std::vector<std::string> names(const std::string& prefix) const;
  const TensorView& at(const std::string& name) const;

  /// Of this object's memory.
  Checkpoint checkpoint() const;

 private:
  std::deque<Tensor> memory_;
  std::vector<std::string> names_;  // empty where it was dropped
};

}  // namespace wan::test
