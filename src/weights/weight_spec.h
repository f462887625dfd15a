#pragma once
// WeightSpec: what a layer asks for, declared where it is used: name, shape, dtype and share of this rank.

#include <string>
#include <string_view>

#include "tensor/tensor.h"

namespace wan {

/// How a weight is divided over ranks: not at all, or into equal slices along one dimension.
class Partition {
 public:
  /// Every rank has the whole.
  static Partition replicated() { return {}; }
  /// Rank `rank` of `ranks` has slice `rank` of dimension `dim`. Throws Internal unless 0 <= rank < ranks.
  static Partition split(int dim, int ranks, int rank);

  bool is_split() const { return ranks_ > 1; }
  /// Shape of this rank's slice. Throws InvalidArgument, naming the weight, when the dimension does not
  /// divide by the number of ranks.
  Shape local_shape(const Shape& whole, std::string_view weight) const;
  /// This rank's slice of `whole`, which is the weight's full view.
  TensorView slice(const TensorView& whole) const;

 private:
  int dim_ = 0;
  int ranks_ = 1;
  int rank_ = 0;
};

enum class WeightDType {
  kCompute,  // the precision of the run: f32, bf16 or f16
  kFloat32,  // whatever the precision: norms, modulation, biases that the official code keeps in fp32
};

struct WeightSpec {
  std::string name;  // below the scope's prefix
  Shape shape;       // whole, before partition
  WeightDType dtype = WeightDType::kCompute;
  Partition partition = Partition::replicated();
};

/// What a weight of this policy is held in.
inline DType resolve_dtype(WeightDType dtype, DType compute) {
  return dtype == WeightDType::kFloat32 ? DType::kF32 : compute;
}

}  // namespace wan
