#pragma once
// One file on its way: fetched beside its final name, gone on with after interruptions, renamed when its content is right.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "download/hub.h"

namespace wan {

/// Where the file's bytes are until it is whole. The name says which content it is, where the hub does: what an earlier download has left is a
/// part of that content and of no other.
std::filesystem::path partial_path(const std::filesystem::path& folder, const DownloadFile& file);

/// What all transfers of a download have in common.
struct TransferContext {
  const Hub& hub;
  const DownloadPlan& plan;
  /// From any thread: bytes that this file has now, of those that were missing when the download began.
  std::function<void(const DownloadFile& file, std::int64_t bytes)> progress;
  std::function<void(const std::string& message)> notice;
};

/// Makes `file` whole in its folder, or leaves it where it is so already. Throws as download().
void fetch_file(Connection& connection, const TransferContext& context, const DownloadFile& file);

}  // namespace wan
