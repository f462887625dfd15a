#include "media/output.h"

#include <algorithm>
#include <cctype>
#include <string>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "media/frame_pattern.h"
#include "media/mp4_writer.h"
#include "media/png_writer.h"
#include "media/threaded_sink.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

// The VAE hands out four frames at a time: one group encodes while the next is put in. 22 MB at 1280x720.
constexpr std::size_t kQueueFrames = 8;

/// Holds the number of frames to what the format promised.
class CountedSink final : public FrameSink {
 public:
  CountedSink(std::unique_ptr<FrameSink> inner, int expected) : inner_(std::move(inner)), left_(expected) {}

  void write(const std::uint8_t* rgb) override {
    WAN_CHECK(left_ > 0, kInternal, "[output] got more frames than the video was to have");
    inner_->write(rgb);
    --left_;
  }

  void finish() override {
    WAN_CHECK(left_ == 0, kInternal, "[output] the video ends {} frames early", left_);
    inner_->finish();
  }

 private:
  std::unique_ptr<FrameSink> inner_;
  int left_;
};

std::unique_ptr<FrameSink> make_plain_sink(const fs::path& path, const VideoFormat& format,
                                           const Metadata& metadata, const VideoEncoding& encoding,
                                           const std::optional<SoundTrack>& sound) {
  switch (classify_output(path, format.frame_count)) {
    case OutputKind::kPngStill:
      return make_png_still(path, format, metadata);
    case OutputKind::kPngSequence:
      return make_png_sequence(FramePattern(path), format, metadata);
    case OutputKind::kMp4:
      break;
  }
  return make_threaded_sink(make_mp4_writer(path, format, metadata, encoding, sound), frame_bytes(format),
                            kQueueFrames);
}

}  // namespace

OutputKind classify_output(const fs::path& path, int frame_count) {
  WAN_CHECK(frame_count > 0, kInvalidArgument, "expected at least one frame, got {}", frame_count);
  std::string extension = path.extension().string();
  std::ranges::transform(extension, extension.begin(), [](unsigned char c) { return std::tolower(c); });
  if (extension == ".mp4") return OutputKind::kMp4;
  WAN_CHECK(extension == ".png", kInvalidArgument,
            "cannot write {}: expected a name that ends in .mp4 (video), .png (one frame) or like _%05d.png "
            "(a file a frame), got {}",
            path.string(), extension.empty() ? "no extension" : extension);
  if (FramePattern::is_pattern(path)) {
    const FramePattern checked(path);
    return OutputKind::kPngSequence;
  }
  WAN_CHECK(frame_count == 1, kInvalidArgument,
            "cannot write {} frames to {}: a .png holds one; name it {}_%05d.png for a file a frame, or .mp4",
            frame_count, path.string(), path.stem().string());
  return OutputKind::kPngStill;
}

std::vector<fs::path> output_files(const fs::path& path, int frame_count) {
  if (classify_output(path, frame_count) != OutputKind::kPngSequence) return {path};
  const FramePattern pattern(path);
  std::vector<fs::path> names;
  for (int number = 0; number < frame_count; ++number) names.push_back(pattern.name(number));
  return names;
}

void check_output_writable(const fs::path& path, int frame_count, const VideoEncoding& encoding,
                           const std::optional<SoundTrack>& sound) {
  switch (classify_output(path, frame_count)) {
    case OutputKind::kMp4:
      check_writable_target(path);
      check_mp4_supported(encoding, sound);
      break;
    case OutputKind::kPngStill:
      check_writable_target(path);
      break;
    case OutputKind::kPngSequence: {
      const FramePattern pattern(path);
      check_writable_target(pattern.name(frame_count - 1));  // the longest name
      const std::vector<fs::path> names = output_files(path, frame_count);
      remove_abandoned(names);
      for (const fs::path& name : names) check_replaceable(name);
      break;
    }
  }
}

std::unique_ptr<FrameSink> make_frame_sink(const fs::path& path, const VideoFormat& format,
                                           const Metadata& metadata, const VideoEncoding& encoding,
                                           const std::optional<SoundTrack>& sound) {
  WAN_CHECK(format.width > 0 && format.height > 0, kInvalidArgument,
            "[output] expected a positive size, got {}x{}", format.width, format.height);
  return std::make_unique<CountedSink>(make_plain_sink(path, format, metadata, encoding, sound),
                                       format.frame_count);
}

}  // namespace wan
