#pragma once
// Task: one kind of video that Wan2.2 makes, as one object: the files it needs, the checkpoint it is for, what it takes from a request,
// its official constants, its conditioning and the order of its steps.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/wan/config.h"
#include "pipeline/input_images.h"
#include "pipeline/run.h"
#include "wan/request.h"

namespace wan {

/// The VAE of a task's published checkpoint. A checkpoint's own VAE is told by its tensors.
enum class VaeKind { kVae21, kVae22 };

/// The VAE's file in the published checkpoints: "Wan2.1_VAE.pth".
constexpr std::string_view vae_file_name(VaeKind kind) {
  return kind == VaeKind::kVae21 ? "Wan2.1_VAE.pth" : "Wan2.2_VAE.pth";
}

/// What of a task is data.
struct TaskFacts {
  std::string_view name;        // "i2v-A14B", as GenerationRequest::task has it
  std::string_view checkpoint;  // the published one: "Wan2.2-I2V-A14B"
  std::string_view model_type;  // of its transformers' config.json: "i2v"
  /// Folders of the transformers below the checkpoint's, by Expert; "." is the checkpoint's folder itself.
  std::vector<std::string_view> transformers;
  VaeKind vae;
  bool takes_image = false;
  bool needs_image = false;  // or a last image
  bool takes_last_image = false;
  bool takes_source = false;  // and needs it: a preprocessed video; its own has as many frames, and its size
  bool takes_sound = false;   // and needs it; its video has as many clips as the sound fills
  bool decodes_condition = false;  // finished latents are decoded with what the segment's condition holds
  bool extends_prompts = false;    // there is an instruction for a language model
  /// What the first image is to the video: "that the video begins with".
  std::string_view image_role = "that the video begins with";
  std::string_view usual_prompt = {};  // of a request without one; empty: it has to have one

  std::string_view vae_file() const { return vae_file_name(vae); }
};

class Task {
 public:
  virtual ~Task() = default;
  const TaskFacts& facts() const { return facts_; }

  /// The official constants.
  virtual ModelDefaults defaults() const = 0;
  /// config.json of the published transformers, for plans and measurements without a download.
  virtual WanConfig published_transformer() const = 0;
  /// Latent channels that the transformers take after the noisy ones.
  virtual std::int64_t condition_channels(const VaeGeometry&) const { return 0; }
  /// The largest size that a video made from `image` takes within the `area`: its own rule of every task that takes images.
  virtual VideoSize size_from_image(const Image& image, const VideoSize& area, const VaeGeometry& vae,
                                    const PatchSize& patch) const;
  /// What the given images become for latents [z, F, h, w]: the shape [C, F', h, w] of Run::condition, of F' encoded latent
  /// frames. Only asked of tasks that take images or a source.
  virtual Shape condition_shape(const VaeGeometry& vae, const Shape& latent) const;
  /// What a person should know of how the image became the video's size; empty for nothing.
  virtual std::string told_of_image(const Image&, const VideoSize&) const { return {}; }
  /// Latent frames of a segment of so many video frames.
  virtual std::int64_t segment_latents(const VaeGeometry& vae, int frames) const {
    return vae.latent_frames(frames);
  }
  /// Latent frames that are decoded at a time for a segment of so many, at most.
  virtual std::int64_t decoded_latents(std::int64_t segment) const { return segment; }

  /// Makes the video, segment after segment.
  virtual void run(Run& run, const RunInputs& inputs) const = 0;

 protected:
  explicit Task(TaskFacts facts) : facts_(std::move(facts)) {}
  Task(const Task&) = default;
  Task& operator=(const Task&) = default;

 private:
  TaskFacts facts_;
};

}  // namespace wan
