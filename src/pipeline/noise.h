#pragma once
// NoiseSource: the noise of a run, one stream of random numbers over all of its segments, or a stream each.

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
  /// Standard normals of a generator of its own, seeded with `seed`, rounded to bf16: what torch.randn(dtype=torch.bfloat16) gives.
  void draw_rounded(std::int64_t seed, const TensorView& sample);
  /// Goes on as if draw() had been called for a tensor of `shape`.
  void skip(const Shape& shape);

 private:
  void draw_here(const TensorView& sample);
  /// Of a generator that has drawn `offset` calls on each of its threads.
  void draw_cuda(std::int64_t seed, std::uint64_t offset, const TensorView& sample) const;
  void fill(RandomGenerator& generator, const TensorView& sample) const;

  const RunContext& run_;
  std::uint64_t cuda_offset_ = 0;               // of kTorchCuda: where its stream is
  std::unique_ptr<RandomGenerator> generator_;  // of kTorchCpu, made when first needed
};

}  // namespace wan
