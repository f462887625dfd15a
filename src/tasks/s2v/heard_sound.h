#pragma once
// HeardSound: what each frame of a video hears of its sound.

#include <span>
#include <vector>

#include "pipeline/run.h"

namespace wan {

class HeardSound {
 public:
  /// Runs the audio encoder on rank 0, on all of the sound at once; the others wait. `samples`: rank 0's; `shares`: how much the
  /// transformer hears of each layer (audio_layer_shares).
  HeardSound(const RunContext& run, const PipelineModels& models, std::span<const float> samples,
             const SpeechSettings& settings, std::vector<double> shares);

  /// What a clip's frames hear [dim, frames] f32 on the device, the same on every rank; zeros where the sound is over.
  Tensor clip(int index) const;
  /// Where the run is dumped, the layers of it, [layers, dim, frames].
  void dump_clip(int index) const;

 private:
  void hear(const Wav2Vec2& encoder, std::span<const float> samples);
  /// Columns of a clip of x [.., frames of all clips], contiguous.
  Tensor part(const TensorView& x, int clip) const;

  const RunContext& run_;
  int clips_;
  std::vector<double> shares_;
  Shape shape_;  // of what a clip hears
  Tensor
      heard_;  // [dim, frames of all clips], on rank 0's host: 0.3 MB a clip of the published model, where its layers have 8
  Tensor embedding_;  // [layers, dim, frames of all clips]: where the run is dumped
};

}  // namespace wan
