#include "raw_video.h"

#include <fmt/format.h>

#include <system_error>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/files.h"
#include "wan/download.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

/// In a folder that is this program's to remove.
constexpr const char* kMark = "goes_with_the_video";

/// A name that is free: what an earlier run has left may be needed to go on with it.
fs::path free_folder(const fs::path& save_file) {
  for (int number = 1;; ++number) {
    fs::path folder = save_file.string() + (number == 1 ? "" : fmt::format(".{}", number)) + ".source";
    if (!file_exists(folder)) return folder;
  }
}

/// A download may be named by its name.
fs::path folder_of_checkpoint(const std::string& ckpt_dir) {
  return is_folder(ckpt_dir) ? fs::path(ckpt_dir) : downloaded_folder(ckpt_dir).value_or(ckpt_dir);
}

}  // namespace

RawVideo::RawVideo(const GenerateOptions& o, const fs::path& save_file) {
  WAN_CHECK_FIELD(o.task == "animate-14B", kInvalidArgument, "video",
                  "--video is of animated characters; {} makes none, animate-14B does", o.task);
  WAN_CHECK_FIELD(
      o.src_root_path.empty(), kInvalidArgument, "video",
      "--video is preprocessed, and --src_root_path names a folder that has been; leave one of them out");
  WAN_CHECK_FIELD(o.from_latents.empty(), kInvalidArgument, "video",
                  "--from_latents goes on with the folder that the run was begun with; leave --video out");
  WAN_CHECK_FIELD(!o.plan, kInvalidArgument, "video",
                  "--plan needs the size and length that preprocessing makes: run wan preprocess and name "
                  "its folder with "
                  "--src_root_path");
  WAN_CHECK_FIELD(!o.image.empty(), kInvalidArgument, "image",
                  "--image is missing: name the picture of the character");
  take_preprocess_arguments(o.preprocess, preprocess_);
  if (preprocess_.ckpt_path.empty())
    preprocess_.ckpt_path = folder_of_checkpoint(o.ckpt_dir) / "process_checkpoint";
  preprocess_.video_path = o.video;
  preprocess_.refer_path = o.image;
  preprocess_.save_path = free_folder(save_file);
  preprocess_.fps = o.fps.value_or(preprocess_.fps);
  preprocess_.replace_flag = o.replace_flag;
  preprocess_.lossless = true;
  preprocess_.device = o.device;
  preprocess_.threads = o.threads;
  try {
    check_preprocess(preprocess_);
  } catch (const Error& error) {
    // Members of preprocessing have other options here.
    const std::string field = error.field() == "video_path"   ? "video"
                              : error.field() == "refer_path" ? "image"
                                                              : error.field();
    throw Error(error.code(), error.what(), field);
  }
}

void RawVideo::preprocess_for(GenerationRequest& request, const Engine& engine, const EventHandler& on_event,
                              const std::atomic<bool>* cancelled) {
  preprocess_.face_size = engine.face_size();
  try {
    std::error_code ignored;
    fs::create_directories(preprocess_.save_path, ignored);
    write_file_atomically(preprocess_.save_path / kMark, "");
    const PreprocessResult result = preprocess(preprocess_, on_event, cancelled);
    if (on_event)
      on_event(
          Notice{format_message("preprocessed {}: {}", preprocess_.video_path.string(), summary_of(result))});
  } catch (...) {
    remove(preprocess_.save_path);
    throw;
  }
  request.animation.src_root_path = preprocess_.save_path;
  request.image.clear();
}

void RawVideo::remove(const fs::path& folder) {
  std::error_code ignored;
  if (!file_exists(folder / kMark)) return;
  for (const char* const name :
       {"src_pose.mkv", "src_face.mkv", "src_bg.mkv", "src_mask.mkv", "src_ref.png", kMark})
    fs::remove(folder / name, ignored);
  fs::remove(folder, ignored);
}

}  // namespace wan
