#include "pipeline/noise.h"

#include <vector>

#include "ops/copy.h"

namespace wan {

void NoiseSource::draw(const TensorView& sample) {
  if (run_.exec.communicator.rank() == 0) draw_here(sample);
  run_.exec.communicator.broadcast(sample, 0);
}

void NoiseSource::draw_rounded(std::int64_t seed, const TensorView& sample) {
  const RandomSpec& spec = run_.settings.rng;
  if (run_.exec.communicator.rank() == 0) {
    if (spec.kind == RandomKind::kTorchCuda)
      draw_cuda(seed, 0, sample);
    else
      fill(*make_random_generator(spec, seed), sample);
    const Tensor rounded(run_.exec.backend.allocator(), DType::kBF16, sample.shape());
    copy(run_.exec, {sample, rounded});
    copy(run_.exec, {rounded, sample});
  }
  run_.exec.communicator.broadcast(sample, 0);
}

void NoiseSource::draw_cuda(std::int64_t seed, std::uint64_t offset, const TensorView& sample) const {
  const RandomSpec& spec = run_.settings.rng;
  if (run_.exec.backend.draw_cuda_normals({.seed = static_cast<std::uint64_t>(seed),
                                           .multiprocessors = spec.grid.multiprocessors,
                                           .threads_per_multiprocessor = spec.grid.threads_per_multiprocessor,
                                           .out = sample,
                                           .offset = offset}))
    return;
  fill(*make_random_generator(spec, seed, offset), sample);
}

void NoiseSource::draw_here(const TensorView& sample) {
  const RandomSpec& spec = run_.settings.rng;
  if (spec.kind == RandomKind::kTorchCuda) {
    const std::uint64_t offset = cuda_offset_;
    skip(sample.shape());
    return draw_cuda(run_.settings.seed, offset, sample);
  }
  if (!generator_) generator_ = make_random_generator(spec, run_.settings.seed);
  fill(*generator_, sample);
}

void NoiseSource::fill(RandomGenerator& generator, const TensorView& sample) const {
  const Tensor host(DType::kF32, sample.shape());
  generator.normal({host.as<float>(), static_cast<std::size_t>(host.elements())});
  run_.exec.backend.upload(host, sample);
}

void NoiseSource::skip(const Shape& shape) {
  const RandomSpec& spec = run_.settings.rng;
  if (spec.kind == RandomKind::kTorchCuda) {
    cuda_offset_ += cuda_random_calls(spec.grid, shape.elements());
    return;
  }
  if (!generator_) generator_ = make_random_generator(spec, run_.settings.seed);
  std::vector<float> values(static_cast<std::size_t>(shape.elements()));
  generator_->normal(values);
}

}  // namespace wan
