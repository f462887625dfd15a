#pragma once
// RunSettings of a generation: a request with every default filled in. Two runs with equal settings make the same video.

#include <cstdint>
#include <optional>
#include <string>

#include "diffusion/guidance.h"
#include "diffusion/random.h"
#include "diffusion/scheduler.h"
#include "media/metadata.h"
#include "media/video_codec.h"
#include "wan/request.h"

namespace wan {

/// Which frames of a pose video are taken: each nth, or those shown at the moments of the video's own.
enum class PoseFrames { kEveryNth, kByTime };

/// "every-nth" or "time". Throws InvalidArgument.
PoseFrames parse_pose_frames(std::string_view text);
std::string_view pose_frames_name(PoseFrames frames);

/// Of a video from a sound.
struct SpeechSettings {
  static constexpr int kClipStep = 4;  // a latent frame's frames
  static constexpr int kMostClipFrames =
      120;  // with more, the video's tokens reach the reference's place in time
  static constexpr int kMostClips = 10'000;
  static bool is_clip(int frames) {
    return frames >= kClipStep && frames <= kMostClipFrames && frames % kClipStep == 0;
  }

  std::string audio;  // the file
  double audio_start = 0;
  std::optional<double> audio_duration;
  std::string audio_hash;  // of its samples: another run goes on with the same ones
  std::string pose_video;  // the file; empty for none
  PoseFrames pose_frames = PoseFrames::kEveryNth;
  int clips = 1;
  int clip_frames = 80;
  bool start_from_ref = false;
  bool official_sync = false;

  /// Frames at the beginning of the first clip that are no part of the video: they are blurred.
  static constexpr int kDroppedFrames = 3;
  bool drops_first() const { return !start_from_ref; }
  /// How often the first frame is shown, so that the others stand where their sound is.
  int first_frame_shown() const { return drops_first() && !official_sync ? 1 + kDroppedFrames : 1; }
  int frames() const { return clips * clip_frames - (drops_first() && official_sync ? kDroppedFrames : 0); }
};

/// Of a character that moves as a video does.
struct AnimationSettings {
  std::string source{};       // the preprocessed folder
  std::string source_hash{};  // of its files: another run goes on with the same ones
  bool replaces = false;
  int carried_frames = 1;  // of a clip, that the next one begins with
  bool official_output = false;
  bool has_sound = false;  // src_pose.mp4
  bool relit = false;      // by the relighting LoRA
  int clip_frames = 77;
  int clips = 1;

  /// Of a video of so many frames, each clip after the first adding clip_frames - carried_frames.
  int clips_of(std::int64_t frames) const;
  struct Clip {
    std::int64_t first;    // frame of the source that it begins with
    std::int64_t carried;  // of its frames are the last ones of the clip before, and shown there
    std::int64_t shown;    // of those that follow are part of the video
  };
  /// Of a video of so many frames.
  Clip clip(int index, std::int64_t frames) const;
};

struct GenerationSettings {
  std::string task;
  std::string prompt;
  std::string negative_prompt;
  std::int64_t seed = 0;
  VideoSize size{};  // of the video
  int frame_num = 0;
  double fps = 0;          // of the file: the frames are the same at any
  VideoEncoding encoding;  // of an .mp4
  SolverKind solver = SolverKind::kUniPC;
  int steps = 0;
  double shift = 0;
  std::vector<double> timesteps = {};  // given ones, `steps` of them; empty: the solver's own grid
  GuidanceScale guide_scale{};
  std::optional<double> boundary;  // unset where there is one transformer
  RandomSpec rng;
  std::string model;      // name of the checkpoint's folder
  std::string lora = {};  // what is merged into it: "a.safetensors:0.8@high, b.safetensors"; without folders
  std::string precision;  // "fp32", "bf16"
  std::string vae_precision = "fp32";
  // For tasks that take images; unset elsewhere:
  std::optional<VideoSize>
      area;  // what was asked for, from which and from the image's shape `size` follows; without an image `size`
  std::optional<std::string> image;            // the file; empty where none is given
  std::optional<std::string> last_image;       // likewise
  std::optional<SpeechSettings> speech;        // for tasks that take sound
  std::optional<AnimationSettings> animation;  // for tasks that take a preprocessed video

  /// Segments of the run that makes it.
  int segments() const { return speech ? speech->clips : animation ? animation->clips : 1; }
  /// Frames of one of them.
  int segment_frames() const {
    return speech ? speech->clip_frames : animation ? animation->clip_frames : frame_num;
  }
  /// Whether a segment is made from something that is kept with its unfinished latents.
  bool has_condition() const { return has_images() || animation.has_value(); }
  bool has_images() const { return (image && !image->empty()) || (last_image && !last_image->empty()); }
};

/// Their steps. Throws InvalidArgument for those that cannot be.
Scheduler scheduler_of(const GenerationSettings& settings);

/// Ordered text pairs, the form in which settings travel in videos, latents files and events; "version" comes last.
Metadata to_metadata(const GenerationSettings& settings);

/// Frames a second that a video can have: 0.01 to 1000.
bool is_frame_rate(double fps);

/// Puts what the request says of its output in place of what the settings have; frames in PNG have no encoding. Throws
/// InvalidArgument for a value that cannot be and for an encoding that is asked for in PNG.
void take_output_options(const GenerationRequest& request, GenerationSettings& settings);

/// Whether there is any key of to_metadata() but "version": other programs have keys of their own.
bool holds_settings(const Metadata& metadata);

/// Reads pairs back. Throws BadFile, naming `where` and the key, for a value that is missing, malformed or that no run
/// can have. Which task needs which of the values that may be unset: see check_settings_of().
GenerationSettings settings_from_metadata(const Metadata& metadata, const std::string& where);

}  // namespace wan
