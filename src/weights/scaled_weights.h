#pragma once
// Weights of eight bits whose files keep the scales as tensors of their own: fp8 and int8 of ComfyUI, Kijai, musubi-tuner, LightX2V and
// quanto. The one place that knows how each calls what.

#include <string>
#include <vector>

#include "weights/tensor_entry.h"

namespace wan {

/// Puts each scale to its weight, out of all of a checkpoint's files, and takes scales, markers and descriptions out of them: a weight is
/// called X.weight afterwards, and its scales are its own. fp8 without a scale stays as it is: its scale is 1. `path` names the checkpoint
/// in messages. Throws BadFile for a scale without a weight of eight bits, int8 without a scale, a scale that does not fit; Unsupported for
/// formats that are not read (nvfp4, mxfp8, Nunchaku's ...), by name.
void attach_scales(std::vector<CheckpointFile>& files, const std::string& path);

}  // namespace wan
