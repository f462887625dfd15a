#pragma once
// RandomWeights: a checkpoint of random values for any model, without a file and without memory of its size: every tensor is
// a window on one table of random numbers, which the host and the device both hold.

#include "diffusion/random.h"
#include "ops/backend.h"
#include "weights/weight_scope.h"

namespace wan {

/// Standard normals, which repeat after the first 262,144: drawing more takes longer than all else before a run.
void draw_normals(RandomGenerator& generator, std::span<float> values);

class RandomWeights {
 public:
  /// The backend outlives this, and this every checkpoint and target.
  explicit RandomWeights(Backend& backend);

  /// Holds what `asked`, a report on an empty checkpoint, says is missing: weights of mean 0 and deviation 0.02, and scales of
  /// norms about 1, so that activations of any depth stay finite. Rows of one weight overlap in the table and differ.
  Checkpoint checkpoint(const WeightReport& asked, const std::string& name) const;
  /// Loads into the backend's memory; on a device by a copy from its own table.
  WeightTarget target(DType compute);

 private:
  TensorEntry entry(const std::string& name, const Shape& shape) const;

  Backend& backend_;
  Tensor table_;         // [2, kTable] f32, host: weights, scales
  Tensor device_table_;  // the same on the device; empty on the CPU
  Workspace workspace_;
  SelfCommunicator communicator_;
};

/// A checkpoint without tensors, whose report then lists what a model asks for.
Checkpoint empty_checkpoint();

}  // namespace wan
