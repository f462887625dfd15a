#include "media/png_writer.h"

#include <deque>
#include <future>
#include <utility>
#include <vector>

#include "base/error.h"
#include "media/png_encode.h"
#include "media/raw_file.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

/// Deflating one takes longer than a GPU takes to decode it.
constexpr std::size_t kFramesAtOnce = 8;

/// The names that PNG's specification reserves for these two.
Metadata png_metadata(const Metadata& metadata) {
  check_metadata(metadata);
  return with_title_and_comment(metadata, "Title", "Comment");
}

class PngStill final : public FrameSink {
 public:
  PngStill(const fs::path& path, const VideoFormat& format, const Metadata& metadata)
      : file_(path), format_(format), metadata_(png_metadata(metadata)) {}

  void write(const std::uint8_t* rgb) override {
    WAN_ASSERT(!written_);
    const auto bytes = encode_png(rgb, format_.width, format_.height, metadata_);
    file_.write_at(0, std::as_bytes(std::span(bytes)));
    written_ = true;
  }

  void finish() override {
    WAN_ASSERT(written_);
    file_.commit();
  }

 private:
  RawFile file_;
  VideoFormat format_;
  Metadata metadata_;
  bool written_ = false;
};

class PngSequence final : public FrameSink {
 public:
  PngSequence(FramePattern pattern, const VideoFormat& format, const Metadata& metadata)
      : pattern_(std::move(pattern)),
        format_(format),
        metadata_(png_metadata(metadata)),
        marker_(std::make_unique<AtomicFile>(pattern_.name(0))) {}

  void write(const std::uint8_t* rgb) override {
    if (in_work_.size() == kFramesAtOnce) collect();
    const auto number = static_cast<int>(files_.size() + in_work_.size());
    in_work_.push_back(
        std::async(std::launch::async,
                   [this, number, frame = std::vector<std::uint8_t>(rgb, rgb + frame_bytes(format_))] {
                     const auto bytes = encode_png(frame.data(), format_.width, format_.height, metadata_);
                     auto file = std::make_unique<RawFile>(pattern_.name(number));
                     file->write_at(0, std::as_bytes(std::span(bytes)));
                     file->close();
                     return file;
                   }));
  }

  void finish() override {
    while (!in_work_.empty()) collect();
    int committed = 0;
    try {
      for (; committed < static_cast<int>(files_.size()); ++committed) files_[committed]->commit();
    } catch (...) {
      for (int number = 0; number < committed; ++number) files_[number]->take_back();
      throw;
    }
    marker_.reset();
  }

 private:
  /// Waits for the first frame that is still in work.
  void collect() {
    auto first = std::move(in_work_.front());
    in_work_.pop_front();
    files_.push_back(first.get());
  }

  FramePattern pattern_;
  VideoFormat format_;
  Metadata metadata_;
  std::unique_ptr<AtomicFile>
      marker_;  // never committed: it marks the others, which are too many to be open, as in use
  std::vector<std::unique_ptr<RawFile>> files_;  // complete, under temporary names
  // The frames after these. Destroyed first, which waits for them.
  std::deque<std::future<std::unique_ptr<RawFile>>> in_work_;
};

}  // namespace

std::unique_ptr<FrameSink> make_png_still(const fs::path& path, const VideoFormat& format,
                                          const Metadata& metadata) {
  return std::make_unique<PngStill>(path, format, metadata);
}

std::unique_ptr<FrameSink> make_png_sequence(const FramePattern& pattern, const VideoFormat& format,
                                             const Metadata& metadata) {
  return std::make_unique<PngSequence>(pattern, format, metadata);
}

}  // namespace wan
