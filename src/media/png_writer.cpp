#include "media/png_writer.h"

#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "media/png_encode.h"
#include "media/raw_file.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

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
      : pattern_(std::move(pattern)), format_(format), metadata_(png_metadata(metadata)) {
    const RawFile probe(pattern_.name(0));  // a folder that cannot be written is an error now
  }

  void write(const std::uint8_t* rgb) override {
    const auto bytes = encode_png(rgb, format_.width, format_.height, metadata_);
    auto file = std::make_unique<RawFile>(pattern_.name(static_cast<int>(files_.size())));
    file->write_at(0, std::as_bytes(std::span(bytes)));
    file->close();
    files_.push_back(std::move(file));
  }

  void finish() override {
    int committed = 0;
    try {
      for (; committed < static_cast<int>(files_.size()); ++committed) files_[committed]->commit();
    } catch (...) {
      std::error_code ignored;
      for (int number = 0; number < committed; ++number) fs::remove(pattern_.name(number), ignored);
      throw;
    }
  }

 private:
  FramePattern pattern_;
  VideoFormat format_;
  Metadata metadata_;
  std::vector<std::unique_ptr<RawFile>> files_;  // complete, under temporary names
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
