// sound_source.h and video_reader.h in a build without FFmpeg's libraries.

#include <utility>

#include "base/error.h"
#include "base/mapped_file.h"
#include "media/sound_source.h"
#include "media/video_reader.h"
#include "media/wav.h"

namespace wan {

namespace {

/// With the file that it reads.
class MappedSound final : public SoundSource {
 public:
  explicit MappedSound(MappedFile file)
      : file_(std::move(file)), sound_(open_wav(file_.bytes(), file_.path().string())) {}

  int rate() const override { return sound_->rate(); }
  int channels() const override { return sound_->channels(); }
  std::uint64_t channel_mask() const override { return sound_->channel_mask(); }
  bool read(SoundSamples& samples) override {
    const bool more = sound_->read(samples);
    file_.check_whole();
    return more;
  }

 private:
  MappedFile file_;
  std::unique_ptr<SoundSource> sound_;
};

}  // namespace

std::unique_ptr<SoundSource> open_sound(const std::filesystem::path& path) {
  MappedFile file(path);
  WAN_CHECK(!file.bytes().empty(), kBadFile, "[sound] {} is empty; give a sound file", path.string());
  WAN_CHECK(is_wav(file.bytes()), kUnsupported,
            "[sound] {}: this build was made without FFmpeg's libraries and reads WAV alone; convert it to "
            "WAV, or build with -DWAN_WITH_FFMPEG=ON",
            path.string());
  return std::make_unique<MappedSound>(std::move(file));
}

std::unique_ptr<VideoReader> open_video(const std::filesystem::path& path) {
  fail(ErrorCode::kUnsupported,
       "[video] {}: this build was made without FFmpeg's libraries and reads no videos; build with "
       "-DWAN_WITH_FFMPEG=ON",
       path.string());
}

}  // namespace wan
