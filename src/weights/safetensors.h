#pragma once
// Safetensors: an 8-byte header length, a JSON header, raw row-major tensors
// (https://github.com/huggingface/safetensors, "Format"); and the index of a sharded checkpoint.

#include <cstddef>
#include <map>
#include <span>
#include <string>

#include "weights/tensor_entry.h"

namespace wan {

/// Checks and lists a whole file: header length, JSON, dtypes, shapes, and that the tensors cover the data
/// exactly, without gap or overlap. The entries point into `bytes`. `file` names it in messages. Throws
/// BadFile, or Unsupported for a dtype that is not read (8-bit floats ...).
CheckpointFile parse_safetensors(std::span<const std::byte> bytes, const std::string& file);

/// The "weight_map" of a `*.safetensors.index.json`: tensor name -> shard. Every shard's name is relative and
/// stays inside the folder. Throws BadFile.
std::map<std::string, std::string> parse_safetensors_index(std::span<const std::byte> bytes,
                                                           const std::string& file);

}  // namespace wan
