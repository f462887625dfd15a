// mp4_writer.h and lossless_writer.h in a build without FFmpeg's libraries.

#include "base/error.h"
#include "media/lossless_writer.h"
#include "media/mp4_writer.h"

namespace wan {

void check_mp4_supported(const VideoEncoding&, const std::optional<SoundTrack>&) {
  fail(ErrorCode::kUnsupported,
       "this build cannot write .mp4: it was made without FFmpeg's libraries; write lossless frames to "
       "NAME_%05d.png or the arrays as .npy with `dump_dir`, or build with -DWAN_WITH_FFMPEG=ON");
}

std::unique_ptr<FrameSink> make_mp4_writer(const std::filesystem::path&, const VideoFormat&, const Metadata&,
                                           const VideoEncoding& encoding, const std::optional<SoundTrack>&) {
  check_mp4_supported(encoding);
  return nullptr;
}

std::unique_ptr<FrameSink> make_lossless_writer(const std::filesystem::path& path, const VideoFormat&,
                                                const std::optional<SoundTrack>&) {
  fail(ErrorCode::kUnsupported,
       "cannot write {}: this build was made without FFmpeg's libraries; build with -DWAN_WITH_FFMPEG=ON",
       path.string());
}

}  // namespace wan
