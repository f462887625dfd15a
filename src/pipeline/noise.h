#pragma once
// NoiseSource: the noise of a run, one stream of random numbers over all of its segments.

#include <cstdint>
#include <memory>

#include "settings/run_context.h"

namespace wan {

class NoiseSource {
 public:
  /// The generator of run.settings, as one torch.Generator that every segment draws from in turn.
  explicit NoiseSource(const RunContext& run) : run_(run) {}

  /// The next standard normals into `sample`, contiguous f32 on the device. Drawn on rank 0 and broadcast, so that every rank works on
  /// the same latent.
  void draw(const TensorView& sample);
  /// Goes on as if draw() had been called for a tensor of `shape`.
  void skip(const Shape& shape);

 private:
  void draw_here(const TensorView& sample);
  void fill(RandomGenerator& generator, const TensorView& sample) const;

  const RunContext& run_;
  std::uint64_t cuda_offset_ = 0;               // of kTorchCuda: where its stream is
  std::unique_ptr<RandomGenerator> generator_;  // of kTorchCpu, made when first needed
};

}  // namespace wan
