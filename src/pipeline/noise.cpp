#include "pipeline/noise.h"

#include <vector>

namespace wan {

void NoiseSource::draw(const TensorView& sample) {
  if (run_.exec.communicator.rank() == 0) draw_here(sample);
  run_.exec.communicator.broadcast(sample, 0);
}

void NoiseSource::draw_here(const TensorView& sample) {
  const RandomSpec& spec = run_.settings.rng;
  // The device's kernel gives a generator's first values; later ones come from the host.
  if (!begun_ && spec.kind == RandomKind::kTorchCuda &&
      run_.exec.backend.draw_cuda_normals({.seed = static_cast<std::uint64_t>(run_.settings.seed),
                                           .multiprocessors = spec.grid.multiprocessors,
                                           .threads_per_multiprocessor = spec.grid.threads_per_multiprocessor,
                                           .out = sample})) {
    skip(sample.shape());
    return;
  }
  begun_ = true;
  if (!generator_) generator_ = make_random_generator(spec, run_.settings.seed);
  for (const std::int64_t count : passed_) {
    std::vector<float> values(static_cast<std::size_t>(count));
    generator_->normal(values);
  }
  passed_.clear();
  const Tensor host(DType::kF32, sample.shape());
  generator_->normal({host.as<float>(), static_cast<std::size_t>(host.elements())});
  run_.exec.backend.upload(host, sample);
}

void NoiseSource::skip(const Shape& shape) {
  begun_ = true;
  passed_.push_back(shape.elements());
}

}  // namespace wan
