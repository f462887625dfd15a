#pragma once
// Preprocessing of character animation: a video and a picture become the folder that animate-14B is made from.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "wan/events.h"
#include "wan/request.h"

namespace wan {

/// Names, meanings and defaults as the official preprocess_data.py has them, as far as it has them.
struct PreprocessOptions {
  /// The checkpoint's process_checkpoint folder: det/yolov10m.onnx, pose2d/vitpose_h_wholebody.onnx/end2end.onnx and, to replace, sam2/sam2_hiera_large.pt.
  std::filesystem::path ckpt_path;
  /// The video whose movements are taken.
  std::filesystem::path video_path;
  /// The picture of the character.
  std::filesystem::path refer_path;
  /// The folder to write, made where there is none.
  std::filesystem::path save_path;
  /// About width x height pixels; the shape is that of the picture, to replace that of the video.
  VideoSize resolution_area = {1280, 720};
  /// Frames a second, 1 to 1000; -1: the video's own.
  double fps = 30;
  /// The character takes someone's place in the video.
  bool replace_flag = false;
  /// The bones of the picture's person in place of those of the video's; not with replace_flag.
  bool retarget_flag = false;
  /// With retarget_flag: pictures of the character, and of the person in the video, in which all of both is seen from the front, made with
  /// any image editor. Bones are measured there. Both or none.
  std::filesystem::path edited_refer;
  std::filesystem::path edited_frame;
  /// The mask, with replace_flag: how often it is widened by a square of k pixels (0: not at all, and not cut into blocks), and into how many blocks its box is cut
  /// across and down, of which those with a pixel of it are filled.
  int iterations = 3;
  int k = 7;
  int w_len = 1;
  int h_len = 1;
  /// The pose network is given red first, as it was trained; officially it gets blue first.
  bool pose_rgb = false;
  /// Pixels of a side of the face's video, a multiple of 2 up to 4096; of the published model.
  int face_size = 512;
  /// Videos are written as Matroska without loss, for one run alone, and not as H.264.
  bool lossless = false;
  /// As EngineOptions has them.
  std::string device = "auto";
  int threads = 0;
};

struct PreprocessResult {
  VideoSize size;               // of the videos but for the face's
  VideoSize video_size;         // of the video that was given
  double fps;                   // of what was written
  std::int64_t frames;          // written
  std::int64_t video_frames;    // of the video that was given
  std::int64_t without_person;  // frames in which the detector found nobody
  std::int64_t without_body;    // frames without a point of the body, which have the body of the frame before
  std::int64_t without_face;    // frames without a face, which have the one before, or a black one
  std::int64_t without_mask;    // frames in which the segmenter found nothing; replace_flag
  double seconds;
};

/// All that can be told before networks are loaded: options, files that are missing or cannot be read. Throws InvalidArgument, BadFile and Unsupported, naming the
/// member.
void check_preprocess(const PreprocessOptions& options);

/// Writes save_path. Memory does not grow with the video's length; to replace, 400 frames at most lie in save_path meanwhile. Files appear when all are whole. Throws as
/// check_preprocess(), and Io, Device, OutOfMemory, Cancelled.
PreprocessResult preprocess(const PreprocessOptions& options, const EventHandler& on_event = {},
                            const std::atomic<bool>* cancelled = nullptr);

}  // namespace wan
