#pragma once
// GenerationRequest: what a user asks for, every field with its meaning and range. Unset optionals take the checkpoint's
// defaults (ModelDefaults). Sources of the options' names and meanings: generate.py of Wan-Video/Wan2.2.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace wan {

/// Pixels.
struct VideoSize {
  int width;
  int height;
  friend bool operator==(const VideoSize&, const VideoSize&) = default;
};

/// "832*480" or "832x480". Throws InvalidArgument.
VideoSize parse_video_size(std::string_view text);
/// "832*480", the official spelling.
std::string format_video_size(const VideoSize& size);

/// Guidance scale of each expert.
struct GuidanceScale {
  double low_noise;
  double high_noise;
};

/// "5" (both experts) or "3.0,4.0" (low, high). Throws InvalidArgument.
GuidanceScale parse_guidance_scale(std::string_view text);
/// Shortest text that parse_guidance_scale() reads back to the same values.
std::string format_guidance_scale(const GuidanceScale& scale);

/// "1000,937.5,833.3": numbers. Throws InvalidArgument.
std::vector<double> parse_timesteps(std::string_view text);
/// Shortest text that parse_timesteps() reads back to the same values.
std::string format_timesteps(const std::vector<double>& timesteps);

/// How the frames are put into their file; none of it changes the frames.
struct OutputOptions {
  /// Frames a second that the file is to be played at, 0.01 to 1000; unset: the model's. Their number stays.
  std::optional<double> fps;
  /// Codec of an .mp4: "h264", "h265" or "av1"; unset: h264.
  std::optional<std::string> codec;
  /// Constant rate factor of an .mp4, 0 (best) to 51, to 63 for AV1; unset: 10, which is the official quality, or what
  /// is near it in the other codecs: 10 and 8.
  std::optional<int> crf;
};

/// What a video of a person who speaks is made from, beside the picture of the person: s2v-14B.
struct SpeechRequest {
  /// The sound, in any file that FFmpeg's libraries read. Must be given, unless from_latents is.
  std::filesystem::path audio;
  /// Seconds of it that are left out at its beginning; 0 or more.
  std::optional<double> audio_start;
  /// Seconds of it that are taken from there; unset: all.
  std::optional<double> audio_duration;
  /// Poses that the person takes, a video of drawn skeletons; empty: as the model likes.
  std::filesystem::path pose_video;
  /// Which of its frames are taken: "every-nth", the official choice, which drifts against the sound at rates that are no multiple
  /// of the model's, or "time", the frame that is shown at each moment. Unset: every-nth.
  std::optional<std::string> pose_frames;
  /// Clips at most; unset: as many as the sound fills.
  std::optional<int> num_clip;
  /// Frames of a clip, a multiple of 4 up to 120; unset: 80.
  std::optional<int> infer_frames;
  /// The video begins with the picture itself.
  bool start_from_ref = false;
  /// The picture runs ahead of the sound by three frames, as in the official code's files; otherwise the first one is held so long.
  bool official_sync = false;
};

/// What a video of a character that moves as another video does is made from: animate-14B.
struct AnimationRequest {
  /// The folder that the official preprocessing has written: src_pose.mp4, src_face.mp4, src_ref.png, and to replace src_bg.mp4 and
  /// src_mask.mp4. Must be given, unless from_latents is.
  std::filesystem::path src_root_path;
  /// The character takes someone's place in the video of src_bg.mp4; otherwise it is alone, as in its picture.
  bool replace_flag = false;
  /// Frames of a clip that the next one begins with: 1 or 5; unset: 1.
  std::optional<int> refert_num;
  /// 30 frames a second and no sound, as the official code's files; otherwise the rate and the sound of src_pose.mp4.
  bool official_output = false;
};

struct GenerationRequest {
  std::string task = "t2v-A14B";
  /// UTF-8; not empty where neither an image nor from_latents is given. animate-14B has one of its own where it is empty.
  std::string prompt;
  /// Empty text means an empty negative prompt; unset, the model's default one.
  std::optional<std::string> negative_prompt;
  /// For a video from text: multiples of VAE stride x patch (16 for A14B, 32 for TI2V-5B). For a video from an image: its
  /// area, of s2v-14B its largest one; width and height follow the image's shape. animate-14B has the size of src_pose.mp4.
  std::optional<VideoSize> size;
  /// Video frames: 4n + 1; 1 is a still. A video from a sound has as many as its clips; of animate-14B those of a clip, and as many as
  /// src_pose.mp4 has.
  std::optional<int> frame_num;
  /// 0 to 2^63 - 1; unset or negative: drawn at random and reported.
  std::optional<std::int64_t> seed;
  /// Published settings of distilled models and of LoRAs that distil: "lightning-4", "fastwan-3" and others; what else is set here stands above them.
  std::optional<std::string> preset = {};
  /// "unipc", "dpm++" or "euler".
  std::optional<std::string> sample_solver;
  /// 1 to 1000.
  std::optional<int> sample_steps;
  /// Above 0.
  std::optional<double> sample_shift;
  /// What the model is given in each step, in place of the grid of `sample_steps` and `sample_shift`: falling, from 1000 at most to above 0.
  std::optional<std::vector<double>> sample_timesteps = {};
  std::optional<GuidanceScale> sample_guide_scale;
  /// "torch-cpu", "torch-cuda", "torch-cuda:SMSxTHREADS" or "torch-cuda:GPU name". Empty: torch-cpu on the CPU, on a GPU
  /// torch-cuda with that GPU's launch grid.
  std::string rng = {};
  /// The picture that the video begins with (JPEG, PNG or WebP): i2v-A14B, and ti2v-5B where given; of who speaks: s2v-14B.
  std::filesystem::path image;
  /// The picture that it ends with, with `image` or alone: i2v-A14B.
  std::filesystem::path last_image;
  SpeechRequest speech = {};
  AnimationRequest animation = {};

  /// `.mp4`, `.png` (a still) or a `%05d.png` pattern. Must be given.
  std::filesystem::path save_file;
  OutputOptions output = {};
  /// Keeps the final latents here, and unfinished ones unless the file is there already; empty: in keep_dir or beside save_file,
  /// until the video is whole.
  std::filesystem::path save_latents;
  /// Goes on from latents that an earlier run kept: finished ones are decoded, unfinished ones denoised to the end with
  /// the settings they were begun with.
  std::filesystem::path from_latents;
  /// While it denoises a run keeps its state this often, and where one expert follows another, so that a killed one is not
  /// lost: less often where that would take more than a hundredth of the time. 0: only when it ends early.
  std::chrono::duration<double> keep_every = std::chrono::minutes(5);
  /// The folder for what a run keeps on its own; empty: that of save_file. Where it cannot be written (a full disk), the
  /// next of this one, that of save_file and the one for temporary files is tried.
  std::filesystem::path keep_dir;
  /// Intermediate tensors as .npy files, to compare with other implementations.
  std::filesystem::path dump_dir;
  /// Every named layer output as well; needs dump_dir.
  bool dump_taps = false;
  /// Looks through every op's result and names the layer and op whose values are the first that are not finite. Slow.
  bool check = false;
};

/// What a checkpoint generates with where the request says nothing.
struct ModelDefaults {
  VideoSize size;
  int frame_num;
  double fps;
  std::string sample_solver;
  int sample_steps;
  double sample_shift;
  GuidanceScale sample_guide_scale;
  /// Share of the 1,000 training timesteps from which the high-noise expert runs; unset for one transformer.
  std::optional<double> boundary;
  std::string negative_prompt;
};

/// The official constants of a task, overridden by `ckpt_dir`/generation_config.json where there is one. Throws
/// InvalidArgument for an unknown task and BadFile for a malformed file, naming the key.
ModelDefaults load_model_defaults(std::string_view task, const std::filesystem::path& ckpt_dir);

}  // namespace wan
