#include "onnx/external_data.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/untrusted_text.h"

namespace wan::onnx {

namespace {

constexpr std::size_t kMostFiles = 4096;

/// Whether `path` lies below `folder`, both real.
bool is_below(const std::filesystem::path& path, const std::filesystem::path& folder) {
  const auto [rest, end] = std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
  return rest == folder.end() && end != path.end();
}

}  // namespace

std::shared_ptr<const MappedFile> ExternalFiles::open(const std::string& location) {
  if (const auto found = files_.find(location); found != files_.end()) return found->second;
  const std::string where = model_.string();
  WAN_CHECK(!model_.empty(), kBadFile, "[{}] weights in another file ({}) are not expected here", where,
            quote_name(location));
  WAN_CHECK(files_.size() < kMostFiles, kBadFile,
            "[{}] weights in more than {} files; save the model with fewer", where, kMostFiles);
  const std::filesystem::path relative(location);
  const bool plain =
      is_plain_utf8(location) && !location.empty() && relative.is_relative() &&
      std::none_of(relative.begin(), relative.end(), [](const auto& part) { return part == ".."; });
  WAN_CHECK(
      plain, kBadFile,
      "[{}] the path {} of its weights is not one below the model's folder; save the model again with its "
      "external data beside it",
      where, quote_name(location));
  if (folder_.empty()) folder_ = real_path(folder_of(model_));
  const std::filesystem::path named = folder_ / relative;
  WAN_CHECK(file_exists(named), kBadFile,
            "[{}] the file {} with a part of its weights is missing; download the whole folder", where,
            quote_name(location));
  const std::filesystem::path real = real_path(named);
  WAN_CHECK(is_below(real, folder_), kBadFile,
            "[{}] {} is a link out of the model's folder; put the file itself there (cp -L)", where,
            quote_name(location));
  return files_.emplace(location, std::make_shared<const MappedFile>(real)).first->second;
}

ExternalFiles::Part ExternalFiles::part(const std::string& location, std::uint64_t offset,
                                        std::uint64_t length) {
  const auto file = open(location);
  const std::uint64_t size = file->bytes().size();
  WAN_CHECK(offset <= size && length <= size - offset, kBadFile,
            "[{}] {} bytes at {} of {} are wanted, which has {}: the file is truncated; download it again",
            model_.string(), length, offset, quote_name(location), size);
  return {file->bytes().data() + offset, file};
}

}  // namespace wan::onnx
