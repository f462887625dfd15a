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
  GuidanceScale guide_scale{};
  std::optional<double> boundary;  // unset where there is one transformer
  RandomSpec rng;
  std::string model;      // name of the checkpoint's folder
  std::string precision;  // "fp32", "bf16"
  std::string vae_precision = "fp32";
  // For tasks that take images; unset elsewhere:
  std::optional<VideoSize>
      area;  // what was asked for, from which and from the image's shape `size` follows; without an image `size`
  std::optional<std::string> image;       // the file; empty where none is given
  std::optional<std::string> last_image;  // likewise

  bool has_images() const { return (image && !image->empty()) || (last_image && !last_image->empty()); }
};

/// Ordered text pairs, the form in which settings travel in videos, latents files and events; "version" comes last.
Metadata to_metadata(const GenerationSettings& settings);

/// Puts what the request says of its output in place of what the settings have; frames in PNG have no encoding. Throws
/// InvalidArgument for a value that cannot be and for an encoding that is asked for in PNG.
void take_output_options(const GenerationRequest& request, GenerationSettings& settings);

/// Whether there is any key of to_metadata() but "version": other programs have keys of their own.
bool holds_settings(const Metadata& metadata);

/// Reads pairs back. Throws BadFile, naming `where` and the key, for a value that is missing, malformed or that no run
/// can have. Which task needs which of the values that may be unset: see check_settings_of().
GenerationSettings settings_from_metadata(const Metadata& metadata, const std::string& where);

}  // namespace wan
