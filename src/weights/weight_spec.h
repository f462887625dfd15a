#pragma once
// WeightSpec: what a layer asks for, declared where it is used: name, shape and how it is held. How weights are divided over ranks
// is no matter of theirs: a block lies in one piece of memory (block_layout.h), of which a share is a run of bytes.

#include <string>

#include "tensor/tensor.h"

namespace wan {

enum class WeightDType {
  kCompute,  // the precision of the run: f32, bf16 or f16
  kFloat32,  // whatever the precision: norms, modulation, biases that the official code keeps in fp32
  kInFile,   // the file's: it stays in the mapped file, on the host, for a table of which few rows are read
};

struct WeightSpec {
  std::string name;  // below the scope's prefix
  Shape shape;
  WeightDType dtype = WeightDType::kCompute;
};

/// What a weight that is loaded is held in.
inline DType resolve_dtype(WeightDType dtype, DType compute) {
  WAN_ASSERT(dtype != WeightDType::kInFile);
  return dtype == WeightDType::kFloat32 ? DType::kF32 : compute;
}

}  // namespace wan
