#pragma once
// Weights in files of their own beside an ONNX file.

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "base/mapped_file.h"

namespace wan::onnx {

/// The files of one model's folder, each mapped once.
class ExternalFiles {
 public:
  /// `model`: the .onnx file. Without one (an empty path) every file is refused.
  explicit ExternalFiles(const std::filesystem::path& model) : model_(model) {}

  /// Bytes [offset, offset + length) of the file `location`, a path below the model's folder. Throws BadFile: an absolute path, one with
  /// "..", a link that leads out of the folder, a file that is missing or too short.
  struct Part {
    const std::byte* data;
    std::shared_ptr<const MappedFile> file;
  };
  Part part(const std::string& location, std::uint64_t offset, std::uint64_t length);
  const std::map<std::string, std::shared_ptr<const MappedFile>>& files() const { return files_; }

 private:
  std::shared_ptr<const MappedFile> open(const std::string& location);

  std::filesystem::path model_;
  std::filesystem::path folder_;  // real, once it is needed
  std::map<std::string, std::shared_ptr<const MappedFile>> files_;
};

}  // namespace wan::onnx
