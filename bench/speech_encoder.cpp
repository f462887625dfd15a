// Time and memory of the audio encoder at the published size, on random weights and samples.
//
//   build/bench/speech_encoder [SECONDS of sound, 10] [DEVICE, cpu] [THREADS, 2]

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "diffusion/random.h"
#include "engine/backend_factory.h"
#include "media/audio.h"
#include "models/wav2vec2/wav2vec2.h"
#include "ops/counting_backend.h"
#include "published/random_weights.h"

namespace {

using namespace wan;
using Clock = std::chrono::steady_clock;

/// All that the encoder's constructor and residency ask for.
Checkpoint random_checkpoint(const RandomWeights& weights, const Wav2Vec2Config& config) {
  WeightReport asked(empty_checkpoint(), "audio encoder");
  const WeightScope scope = WeightScope::describing(asked);
  const auto residency =
      make_residency({{scope, wav2vec2_block_layout(config), static_cast<int>(config.num_layers)}}, {});
  const Wav2Vec2 encoder(config, scope, *residency, 0, "");
  return weights.checkpoint(asked, "random");
}

void run(double seconds, const std::string& device, int threads) {
  EngineOptions options;
  options.device = device;
  options.threads = threads;
  const std::unique_ptr<Backend> backend = make_backend(options).backend;
  RandomWeights weights(*backend);
  const Wav2Vec2Config config = published_wav2vec2_config();
  WeightReport report(random_checkpoint(weights, config), "audio encoder");
  const WeightScope scope(report, weights.target(DType::kF32));
  const auto residency =
      make_residency({{scope, wav2vec2_block_layout(config), static_cast<int>(config.num_layers)}}, {});
  const Wav2Vec2 encoder(config, scope, *residency, 0, "");
  residency->preload({});

  std::vector<float> samples(static_cast<std::size_t>(seconds * kSpeechRate));
  make_random_generator({}, 1)->normal(samples);
  Rehearsal rehearsal(backend.get());
  encoder.rehearse(rehearsal.ctx, static_cast<std::int64_t>(samples.size()));
  Workspace workspace(backend->allocator());
  SelfCommunicator communicator;
  ExecContext ctx{.backend = *backend, .workspace = workspace, .communicator = communicator};
  std::int64_t flops = 0;
  ctx.flops = &flops;
  const auto planned = static_cast<double>(rehearsal.backend.take_peak());
  for (int pass = 0; pass < 3; ++pass) {
    flops = 0;
    const auto start = Clock::now();
    encoder.encode(ctx, samples, [](std::int64_t, const TensorView&) {});
    backend->synchronize();
    const double time = std::chrono::duration<double>(Clock::now() - start).count();
    std::printf(
        "%s, %g s of sound: %.3f s, %.1f times real time, %.1f GFLOP/s; %.0f MB beside the weights, %.0f "
        "planned\n",
        backend->name(), seconds, time, seconds / time, 1e-9 * static_cast<double>(flops) / time,
        1e-6 * static_cast<double>(workspace.most()), 1e-6 * planned);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc > 1 ? std::atof(argv[1]) : 10, argc > 2 ? argv[2] : "cpu", argc > 3 ? std::atoi(argv[3]) : 2);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
