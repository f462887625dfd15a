#pragma once
// `.pth` and `.pt` files as torch.save writes them since PyTorch 1.6: a zip of stored entries, with a pickle
// that describes tensors and one entry of raw bytes a storage.

#include <cstddef>
#include <span>
#include <string>

#include "weights/tensor_entry.h"

namespace wan {

/// Lists the tensors of a file; the entries point into `bytes`. Nested dictionaries and lists join their keys
/// with '.'; a "state_dict" or "model" dictionary at the top stands for the whole. Every tensor's strided
/// extent lies inside its storage. Throws BadFile, or Unsupported for torch.save's format before 1.6,
/// TorchScript and big-endian files.
CheckpointFile parse_pth(std::span<const std::byte> bytes, const std::string& file);

}  // namespace wan
