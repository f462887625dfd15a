#pragma once
// The entries of a zip archive of stored (uncompressed) files, as spans of the archive itself.

#include <cstddef>
#include <map>
#include <span>
#include <string>

namespace wan {

/// Entry name -> its bytes inside `bytes`. Reads the central directory, zip64 included (PyTorch always writes
/// it), and checks each local header against it. Folders are left out. Throws BadFile for anything malformed,
/// overlapping, repeated or out of bounds, and Unsupported for compressed, encrypted or multi-disk archives.
std::map<std::string, std::span<const std::byte>> read_stored_zip(std::span<const std::byte> bytes,
                                                                  const std::string& file);

}  // namespace wan
