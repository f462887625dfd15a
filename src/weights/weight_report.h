#pragma once
// WeightReport: what a model asked of a checkpoint and did not get, and what the checkpoint holds that nobody
// asked for; one error that lists all of it.

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weights/checkpoint.h"

namespace wan {

struct MisshapedWeight {
  std::string name;
  Shape expected;
  Shape found;
};

/// Not thread-safe; it must outlive the scopes that write to it.
class WeightReport {
 public:
  /// `model` is what a person calls it in messages: "high-noise expert", "text encoder".
  WeightReport(Checkpoint checkpoint, std::string model);

  const Checkpoint& checkpoint() const { return checkpoint_; }
  const std::string& model() const { return model_; }

  /// Marks `name` as used and returns its entry; nullptr, after noting why, when it is missing, has another
  /// shape or holds no floating-point numbers.
  const TensorEntry* expect(const std::string& name, const Shape& shape);

  const std::vector<std::pair<std::string, Shape>>& missing() const { return missing_; }
  const std::vector<MisshapedWeight>& misshaped() const { return misshaped_; }
  /// Tensors that hold integers where weights were expected.
  const std::vector<std::string>& not_floating() const { return not_floating_; }
  std::vector<std::string> unused() const;

  /// Nothing missing, mis-shaped, unused or of a wrong kind.
  bool clean() const;
  /// All findings as text: counts, the first 20 names of each kind, shapes, and what the naming suggests.
  std::string describe() const;
  /// Throws BadFile with describe() unless clean(). Call it once the whole model has asked for its weights,
  /// and before any of them is used.
  void check() const;

 private:
  std::size_t index_of(const TensorEntry* entry) const;

  Checkpoint checkpoint_;
  std::string model_;
  std::vector<bool> used_;  // by the entry's index
  std::vector<std::pair<std::string, Shape>> missing_;
  std::vector<MisshapedWeight> misshaped_;
  std::vector<std::string> not_floating_;
};

}  // namespace wan
