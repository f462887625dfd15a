#include "preprocess/source_writer.h"

#include <system_error>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/files.h"
#include "base/mapped_file.h"
#include "media/lossless_writer.h"
#include "media/output.h"
#include "media/sound_source.h"

namespace wan {

namespace {

constexpr const char* kNames[] = {"src_pose", "src_face", "src_bg", "src_mask"};

}  // namespace

SourceWriter::SourceWriter(const PreprocessOptions& options, const VideoSize& size, double fps,
                           std::int64_t frames)
    : options_(options) {
  std::error_code error;
  std::filesystem::create_directories(options.save_path, error);
  WAN_CHECK_FIELD(is_folder(options.save_path), kIo, "save_path", "cannot make the folder {}: {}",
                  options.save_path.string(), system_reason(error.value()));
  const VideoFormat format{
      .width = size.width, .height = size.height, .fps = fps, .frame_count = static_cast<int>(frames)};
  VideoFormat face = format;
  face.width = face.height = options.face_size;
  pose_ = make_sink(kNames[0], format, has_sound(options.video_path));
  face_ = make_sink(kNames[1], face, false);
  if (!options.replace_flag) return;
  background_ = make_sink(kNames[2], format, false);
  mask_ = make_sink(kNames[3], format, false);
}

std::unique_ptr<FrameSink> SourceWriter::make_sink(const char* name, const VideoFormat& format,
                                                   bool with_sound) {
  std::optional<SoundTrack> sound;
  if (with_sound)
    sound = SoundTrack{.file = options_.video_path, .duration = std::nullopt, .ends_video = false};
  const std::filesystem::path file = options_.save_path / name;
  if (options_.lossless) return make_lossless_writer(file.string() + ".mkv", format, sound);
  return make_frame_sink(file.string() + ".mp4", format, {}, {}, sound);
}

void SourceWriter::finish() {
  for (FrameSink* const sink : {pose_.get(), face_.get(), background_.get(), mask_.get()})
    if (sink != nullptr) sink->finish();
  const MappedFile picture(options_.refer_path);
  const std::span<const std::byte> bytes = picture.bytes();
  const std::string content(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  picture.check_whole();
  write_file_atomically(options_.save_path / "src_ref.png", content);
  for (const char* const name : kNames) {
    std::error_code ignored;
    std::filesystem::remove((options_.save_path / name).string() + (options_.lossless ? ".mp4" : ".mkv"),
                            ignored);
  }
}

}  // namespace wan
