#pragma once
// GGUF, version 2 and 3 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): key-value pairs, tensors with their places, aligned
// data; all little-endian.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weights/tensor_entry.h"

namespace wan {

/// Checks and lists a file: counts, lengths, types, and that every tensor lies in the data. The entries point into `bytes`; shapes are in the
/// usual order, outermost first, and where "comfy.gguf.orig_shape.NAME" has another one, that. Numbers and texts of the pairs become
/// metadata; lists are passed over. `file` names it in messages. Throws BadFile, or Unsupported for a version, byte order or type that is not
/// read.
CheckpointFile parse_gguf(std::span<const std::byte> bytes, const std::string& file);

/// What a file's lists hold, by key: a tokenizer's pieces, merges and kinds of tokens.
struct GgufLists {
  std::map<std::string, std::vector<std::string_view>> texts;  // bytes of the file, which may be no UTF-8
  std::map<std::string, std::vector<std::int64_t>> integers;   // of 32 bits in the file
};

/// The lists of texts and of 32-bit integers of a file's pairs; others, and lists in lists, are passed over. The texts point into `bytes`. Throws as
/// parse_gguf().
GgufLists parse_gguf_lists(std::span<const std::byte> bytes, const std::string& file);

/// The files that a checkpoint is divided into, where `file` is called as one of them ("x-00002-of-00003.gguf"), in order; otherwise `file`.
std::vector<std::filesystem::path> gguf_parts(const std::filesystem::path& file);

/// Throws BadFile unless the parsed parts say that they are one checkpoint's, all of it and in order ("split.no", "split.count").
void check_gguf_parts(const std::vector<CheckpointFile>& parts, const std::string& file);

}  // namespace wan
