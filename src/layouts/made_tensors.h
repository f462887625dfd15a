#pragma once
// Official tensors that another layout does not store as they are: in pieces, in another shape, or not at all.

#include "weights/checkpoint.h"

namespace wan {

/// Of a transformer in diffusers' layout or an image encoder in transformers', all of whose whole tensors have official names: pieces
/// (official_rows()) are joined by a copy in memory, which lives as long as a copy of the entry; vectors get the official dimensions of one; and the
/// blurs of a motion encoder, which are constants, are added. Pieces of a tensor that is not whole stay. Throws BadFile for pieces of
/// several shapes or types, Unsupported for pieces with scales.
Checkpoint with_made_tensors(const Checkpoint& named);

}  // namespace wan
