#pragma once
// The published networks of preprocessing: YOLOv10m and ViTPose-H in ONNX files, SAM 2 in a .pt.

#include <atomic>
#include <filesystem>
#include <memory>
#include <vector>

#include "ops/backend.h"
#include "preprocess/networks.h"
#include "wan/events.h"
#include "wan/preprocess.h"

namespace wan {

/// Files of process_checkpoint.
struct NetworkFiles {
  explicit NetworkFiles(const std::filesystem::path& folder);

  /// Those that the options need.
  std::vector<std::filesystem::path> needed(const PreprocessOptions& options) const;

  std::filesystem::path detector;   // det/yolov10m.onnx
  std::filesystem::path estimator;  // the folder or file pose2d/vitpose_h_wholebody.onnx
  std::filesystem::path segmenter;  // sam2/sam2_hiera_large.pt
};

/// Throws BadFile that names each of the files that is not there, and how to get it.
void check_network_files(const PreprocessOptions& options);

/// The networks on a device. Networks of other sizes with the same inputs and outputs are taken too.
class OfficialNetworks {
 public:
  /// Loads those that the options need. Throws BadFile, Unsupported, OutOfMemory.
  OfficialNetworks(const PreprocessOptions& options, const EventHandler& on_event,
                   const std::atomic<bool>* cancelled);
  ~OfficialNetworks();

  Networks networks() const;
  /// Of the device's memory.
  Backend::MemoryUse memory_use() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace wan
