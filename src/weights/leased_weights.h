#pragma once
// LeasedWeights: the views of a block's weights, and of what is added to those that stay packed.

#include <cstddef>
#include <span>

#include "tensor/tensor.h"

namespace wan {

/// up down^T is added to a packed weight [out, in] when it is unpacked. Empty: nothing is.
struct LowRankViews {
  TensorView up = {};    // [out, rank] f32
  TensorView down = {};  // [in, rank] f32
};

/// In the order of a BlockLayout.
struct LeasedWeights {
  std::span<const TensorView> views = {};
  std::span<const LowRankViews> additions = {};  // of each view, or none at all

  /// The first `count` of them, and those after these.
  LeasedWeights first(std::size_t count) const {
    return {views.first(count), additions.empty() ? additions : additions.first(count)};
  }
  LeasedWeights after(std::size_t count) const {
    return {views.subspan(count), additions.empty() ? additions : additions.subspan(count)};
  }
};

}  // namespace wan
