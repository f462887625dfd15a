#pragma once
// HeardSound: what each frame of a video hears of its sound.

#include <span>

#include "pipeline/run.h"

namespace wan {

class HeardSound {
 public:
  /// Runs the audio encoder on rank 0, on all of the sound at once; the others wait. `samples`: rank 0's.
  HeardSound(const RunContext& run, const PipelineModels& models, std::span<const float> samples,
             const SpeechSettings& settings);

  /// The features of a clip's frames [layers, dim, frames] f32 on the device, the same on every rank; zeros where the sound is over.
  Tensor clip(int index) const;

 private:
  void hear(const Wav2Vec2& encoder, std::span<const float> samples);

  const RunContext& run_;
  int clips_;
  Shape shape_;             // of a clip
  std::vector<Tensor> of_;  // by clip, on rank 0's host
};

}  // namespace wan
