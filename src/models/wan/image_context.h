#pragma once
// ImageContext: what a picture becomes for a transformer whose cross-attention has keys and values of images beside the text's.

#include "models/wan/context_cache.h"

namespace wan {

/// The same in every guidance branch, step and clip of a video.
struct ImageContext {
  Tensor embedded;                              // [image tokens, dim] f32
  std::vector<TextContext::BlockEntry> blocks;  // one a block; empty tensors until that block's first use

  std::size_t bytes() const;
};

}  // namespace wan
