#pragma once
// FiniteCheck: finds the op whose result is the first that is not finite. For GenerationRequest::check: it waits for the device after every op.

#include <string>
#include <string_view>

#include "tensor/tensor.h"

namespace wan {

struct ExecContext;

class FiniteCheck {
 public:
  /// The layer whose ops come next, as taps name it ("low_noise_model.blocks.3.ffn").
  void enter(std::string_view layer) { layer_ = layer; }
  /// Throws Internal, naming layer and op, where an element of `result` (any strides) is NaN or infinite. Dtypes other than f32
  /// and bf16 are passed over.
  void look(ExecContext& ctx, const char* op, const TensorView& result) const;

 private:
  std::string layer_;
};

}  // namespace wan
