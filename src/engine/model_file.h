#pragma once
// ModelFile: where the tensors of a model lie in a safetensors or GGUF file that is to be written, and what stands before them.

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace wan {

struct ModelTensor {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  std::int64_t offset = 0;  // in the file
};

struct ModelFile {
  std::string header;
  std::vector<ModelTensor> tensors;
  std::int64_t bytes = 0;  // of the whole file
};

/// Where a file says what it was made from, and how.
inline constexpr const char* kConversionKey = "wan.conversion";

/// In the tensors' order, whose offsets are set. `conversion` stands under kConversionKey. Throws Internal for dtypes that a file of the kind
/// cannot hold.
ModelFile safetensors_model(std::vector<ModelTensor> tensors, const std::string& conversion);
ModelFile gguf_model(std::vector<ModelTensor> tensors, const std::string& conversion);

}  // namespace wan
