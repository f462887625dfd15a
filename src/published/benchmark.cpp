#include "wan/benchmark.h"

#include <algorithm>
#include <chrono>

#include "base/memory_info.h"
#include "engine/backend_factory.h"
#include "engine/engine_internals.h"
#include "engine/layout_choice.h"
#include "engine/model_checks.h"
#include "engine/rank_connection.h"
#include "engine/rank_threads.h"
#include "engine/vae_factory.h"
#include "models/clip/config.h"
#include "models/wan/animate/animate_conditioning.h"
#include "models/wan/s2v/speech_conditioning.h"
#include "ops/copy.h"
#include "ops/finite.h"
#include "ops/linear.h"
#include "parallel/pass_sharing.h"
#include "published/benchmark_internals.h"
#include "published/random_weights.h"
#include "tasks/official_models.h"
#include "tasks/task_table.h"

namespace wan {

namespace {

constexpr const char* kPhases[] = {"text", "first", "forward", "step", "decode", "encode"};

constexpr int kBranches = 2;  // of guidance

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

const char* precision_name(DType dtype) {
  return dtype == DType::kF32 ? "fp32" : "bf16";
}

/// A rank's part of a phase. A backend of its own, so that one phase's memory is not another's.
struct Bench {
  Bench(const BenchmarkOptions& bench_options, std::unique_ptr<Backend>& made, RankConnection& ways)
      : options(bench_options),
        backend(std::move(made)),
        connection(std::move(ways)),
        on_cpu(backend->device().kind == DeviceKind::kCpu),
        precision(options.precision.empty() ? (on_cpu ? DType::kF32 : DType::kBF16)
                                            : parse_precision("`precision`", options.precision)) {}

  /// Standard normals on the device.
  Tensor normals(const Shape& shape) {
    Tensor values(backend->allocator(), DType::kF32, shape);
    backend->upload_filled(
        [&](const TensorView& host) {
          draw_normals(*generator, {host.as<float>(), static_cast<std::size_t>(host.elements())});
        },
        values);
    return values;
  }
  /// Random values as large as weights are, taken from the weights' table however many they are.
  Tensor random(DType dtype, const Shape& shape) {
    WeightReport asked(empty_checkpoint(), "values");
    WeightScope::describing(asked).load("values", shape);
    WeightReport report(weights.checkpoint(asked, "random"), "values");
    return WeightScope(report, weights.target(dtype)).load("values", shape);
  }
  /// The checkpoint that `declare` asks for.
  Checkpoint checkpoint(const std::function<void(const WeightScope&)>& declare) const {
    WeightReport asked(empty_checkpoint(), "benchmark");
    declare(WeightScope::describing(asked));
    return weights.checkpoint(asked, "random weights");
  }

  double timed(const std::function<void()>& call) const {
    backend->synchronize();
    connection.all->barrier();
    const double start = now();
    call();
    backend->synchronize();
    connection.all->barrier();
    return now() - start;
  }

  /// `result` is looked through for values that are no numbers.
  BenchmarkRow measure(const char* phase, DType weights_precision, double load_seconds,
                       const TensorView& result, const std::function<void()>& call) {
    BenchmarkRow row{.phase = phase,
                     .precision = precision_name(weights_precision),
                     .seconds = {},
                     .load_seconds = load_seconds};
    row.weight_bytes = backend->memory_use().now;
    for (int i = 0; i < options.warmup; ++i) timed(call);
    exec.flops = &row.flops;
    for (int i = 0; i < options.repeats; ++i) {
      row.flops = 0;
      row.seconds.push_back(timed(call));
    }
    exec.flops = nullptr;
    row.non_finite = count_non_finite(exec, result);
    row.peak_host_bytes = peak_resident_bytes();
    if (on_cpu) return row;
    row.peak_device_bytes = backend->memory_use().peak;
    row.device_used_bytes = backend->total_bytes() - backend->free_bytes();
    return row;
  }

  /// For a workspace, beside what is in memory already. Throws OutOfMemory where the limit leaves nothing.
  std::size_t budget() const {
    if (options.memory_limit == 0) return static_cast<std::size_t>(backend->free_bytes());
    const std::int64_t left = options.memory_limit - backend->memory_use().now;
    WAN_CHECK(left > 0, kOutOfMemory, "`memory_limit`: the weights alone take {:.2f} GB",
              1e-9 * static_cast<double>(backend->memory_use().now));
    return static_cast<std::size_t>(left);
  }

  const BenchmarkOptions& options;
  std::unique_ptr<Backend> backend;
  RankConnection connection;
  bool on_cpu;
  DType precision;
  Workspace workspace{backend->allocator()};
  ExecContext exec{.backend = *backend, .workspace = workspace, .communicator = *connection.all};
  RandomWeights weights{*backend};
  std::unique_ptr<RandomGenerator> generator = make_random_generator({}, 1);
};

bool asks_for(const BenchmarkOptions& options, std::string_view phase) {
  return std::find(options.phases.begin(), options.phases.end(), phase) != options.phases.end();
}

/// What is measured: the task's models at a size.
struct Subject {
  explicit Subject(const BenchmarkOptions& options)
      : task(find_task(options.task)), transformer(task.published_transformer()) {
    WAN_CHECK(options.repeats >= 1 && options.repeats <= 1000, kInvalidArgument,
              "`repeats` {}: expected 1 to 1000", options.repeats);
    WAN_CHECK(options.warmup >= 0 && options.warmup <= 1000, kInvalidArgument,
              "`warmup` {}: expected 0 to 1000", options.warmup);
    WAN_CHECK(options.num_layers >= 0 && options.num_layers <= 1000, kInvalidArgument,
              "`num_layers` {}: expected 1 to 1000, or 0 for the published models'", options.num_layers);
    if (!options.precision.empty()) parse_precision("`precision`", options.precision);
    parse_precision("`vae_precision`", options.vae_precision);
    WAN_CHECK(!options.phases.empty(), kInvalidArgument, "`phases` names no phase");
    for (const std::string& phase : options.phases)
      WAN_CHECK(std::find(std::begin(kPhases), std::end(kPhases), phase) != std::end(kPhases),
                kInvalidArgument, "`phases` {}: expected text, first, forward, step, decode, encode or all",
                phase);
    WAN_CHECK(transformer.speech || !asks_for(options, "first"), kInvalidArgument,
              "`phases` first: {} makes no video of clips, each of which follows another", task.facts().name);
    if (options.num_layers > 0) {
      transformer.num_layers = options.num_layers;
      WAN_CHECK(!transformer.animate || options.num_layers % 5 == 0, kInvalidArgument,
                "`num_layers` {}: {} has a multiple of 5", options.num_layers, task.facts().name);
      if (transformer.speech)
        std::erase_if(transformer.speech->inject_layers,
                      [&](int block) { return block >= options.num_layers; });
      text_encoder.num_layers = options.num_layers;
    }
    latent = official_latent(task, options.size, options.frame_num);
  }

  /// What is decoded at a time: a clip of speech with the frames before it.
  LatentExtent decoded() const { return {task.decoded_latents(latent[1]), latent[2], latent[3]}; }
  /// What is encoded: the frames before a clip of speech, otherwise a whole video.
  LatentExtent encoded() const {
    return {transformer.speech ? kMotionLatents : task.decoded_latents(latent[1]), latent[2], latent[3]};
  }
  /// Of the rank of `ranks`, all by default; `first`: of a clip of speech that has none before it.
  TokenLayout layout(const Communicator& ranks = SelfCommunicator(), bool first = false) const {
    if (transformer.speech) return speech_layout(transformer, latent, !first, ranks.size(), ranks.rank());
    return TokenLayout::video(latent[1] / transformer.patch[0], latent[2] / transformer.patch[1],
                              latent[3] / transformer.patch[2], ranks.size(), ranks.rank());
  }

  Shape latents_of(const LatentExtent& extent) const {
    return {latent[0], extent.frames, extent.height, extent.width};
  }

  const Task& task;
  WanConfig transformer;
  Umt5Config text_encoder = official_text_encoder();
  Shape latent;
};

/// Random inputs of a clip of speech, and what the transformer makes of them.
struct RandomSpeech {
  RandomSpeech(Bench& bench, const WanTransformer& model, const Shape& latent, bool first, int branches) {
    const SpeechConfig& speech = *model.config().speech;
    audio = bench.normals({speech.audio_dim, 4 * latent[1]});
    reference = bench.normals({latent[0], 1, latent[2], latent[3]});
    if (!first) motion = bench.normals({latent[0], kMotionLatents, latent[2], latent[3]});
    pose = bench.normals({speech.pose_dim, latent[1], latent[2], latent[3]});
    conditioning.emplace(bench.exec, model,
                         SpeechInput{.audio = audio, .reference = reference, .motion = motion, .pose = pose},
                         branches);
  }

  Tensor audio, reference, motion, pose;
  std::optional<SpeechConditioning> conditioning;
};

/// Random inputs of a clip of an animation, and what the transformer makes of them.
struct RandomAnimation {
  RandomAnimation(Bench& bench, const WanTransformer& model, const Shape& latent, int branches) {
    const WanConfig& config = model.config();
    channels = bench.normals({AnimateChannels(config).all(), latent[1], latent[2], latent[3]});
    tokens = bench.normals({published_clip_config().tokens(), config.animate->image_dim});
    character.emplace(bench.exec, model, tokens);
    AnimateInput input{.channels = channels, .motion = {}};
    for (int branch = 0; branch < branches; ++branch)
      input.motion.push_back(
          motion.emplace_back(bench.normals({4 * (latent[1] - 2) + 1, config.animate->motion_dim})));
    conditioning.emplace(bench.exec, model, *character, input);
  }

  Tensor channels, tokens;
  std::vector<Tensor> motion;
  std::optional<CharacterContext> character;
  std::optional<AnimateConditioning> conditioning;
};

/// A model's weights, its blocks as the only group of a residency.
struct RandomModel {
  RandomModel(Bench& bench, const std::function<void(const WeightScope&)>& declare, const BlockLayout& layout,
              std::int64_t layers)
      : checkpoint(bench.checkpoint(declare)),
        report(checkpoint, "model"),
        scope(report, bench.weights.target(bench.precision)),
        residency(make_residency({{scope, layout, static_cast<int>(layers)}}, {})) {
    residency->preload({});
  }

  Checkpoint checkpoint;
  WeightReport report;
  WeightScope scope;
  std::unique_ptr<BlockResidency> residency;
};

BenchmarkRow measure_text(Bench& bench, const Subject& subject) {
  const double start = now();
  const Umt5Config& config = subject.text_encoder;
  const RandomModel model(
      bench, [&](const WeightScope& scope) { declare_text_encoder(config, scope); },
      umt5_block_layout(config), config.num_layers);
  const Umt5Encoder encoder(config, model.scope, *model.residency, 0, "");
  bench.backend->synchronize();
  const double load_seconds = now() - start;

  std::vector<std::int64_t> ids(static_cast<std::size_t>(subject.transformer.text_len));
  for (std::size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<std::int64_t>(i) * 499 % config.vocabulary;
  const Tensor encoded(bench.backend->allocator(), DType::kF32,
                       {static_cast<std::int64_t>(ids.size()), config.dim});
  return bench.measure("text", bench.precision, load_seconds, encoded,
                       [&] { encoder.encode(bench.exec, ids, encoded); });
}

/// A pass, or with two `branches` a step's: where the ranks are two groups, each runs one of them.
BenchmarkRow measure_passes(Bench& bench, const Subject& subject, const char* phase, int branches) {
  const double start = now();
  const WanConfig& config = subject.transformer;
  const RandomModel model(
      bench, [&](const WeightScope& scope) { declare_transformer(config, scope); }, wan_block_layout(config),
      config.num_layers);
  const DType compute = bench.on_cpu ? DType::kF32 : bench.precision;
  const WanTransformer transformer(config, model.scope, *model.residency, 0, compute, "");
  bench.backend->synchronize();
  const double load_seconds = now() - start;

  const RankConnection& ways = bench.connection;
  const bool first = phase == std::string_view("first");
  const TokenLayout layout = subject.layout(ways.group_or_all(), first);
  const Tensor rope = transformer.make_rope_table(bench.exec, layout);
  const Tensor latent = bench.normals(subject.latent);
  Tensor channels;
  Conditioning conditioning;
  if (const std::int64_t count = config.in_dim - config.out_dim; count > 0 && !config.animate) {
    channels = bench.normals({count, subject.latent[1], subject.latent[2], subject.latent[3]});
    conditioning.channels = channels;
  }
  std::optional<RandomSpeech> speech;
  if (config.speech) speech.emplace(bench, transformer, subject.latent, first, branches);
  std::optional<RandomAnimation> animation;
  if (config.animate) animation.emplace(bench, transformer, subject.latent, branches);
  std::vector<TextContext> contexts(static_cast<std::size_t>(branches));
  std::vector<Tensor> velocities;
  std::vector<GuidanceBranch> passes;
  for (int branch = 0; branch < branches; ++branch) {
    velocities.emplace_back(bench.backend->allocator(), DType::kF32, subject.latent);
    TextContext& context = contexts[static_cast<std::size_t>(branch)];
    transformer.embed_text(bench.exec, bench.normals({config.text_len, config.text_dim}), context);
    if (runs_pass(ways.layout, ways.all->rank(), branch, branches))
      passes.push_back({&context,
                        speech      ? &speech->conditioning->branch(branch)
                        : animation ? &animation->conditioning->branch(branch)
                                    : &conditioning,
                        velocities.back()});
  }
  ExecContext exec{
      .backend = *bench.backend, .workspace = bench.workspace, .communicator = ways.group_or_all()};
  const double timesteps[] = {900.0, 0.0};
  return bench.measure(phase, bench.precision, load_seconds, velocities.back(), [&] {
    exec.flops = bench.exec.flops;
    transformer.forward(exec, {.latent = latent, .timesteps = timesteps, .layout = layout, .rope = rope},
                        passes);
    share_results(*ways.all, ways.layout, velocities);
  });
}

BenchmarkRow measure_vae(Bench& bench, const Subject& subject, const char* phase) {
  const double start = now();
  const VaePrecision precision{.compute = parse_precision("`vae_precision`", bench.options.vae_precision)};
  const Checkpoint checkpoint = bench.checkpoint(
      [&](const WeightScope& scope) { make_vae(scope, precision, official_vae(subject.task)); });
  WeightReport report(checkpoint, "VAE");
  const auto vae =
      make_vae(WeightScope(report, bench.weights.target(DType::kF32)), precision, official_vae(subject.task));
  bench.backend->synchronize();
  const double load_seconds = now() - start;

  const VideoSize& size = bench.options.size;
  const int ranks = bench.connection.all->size();
  if (phase == std::string_view("encode")) {
    const VaePlan plan = vae->plan_encode(subject.encoded(), bench.budget(), bench.backend.get(), ranks);
    const Tensor latents(bench.backend->allocator(), DType::kF32, subject.latents_of(subject.encoded()));
    const Tensor frame = bench.normals({size.height, size.width, 3});
    const FrameSource source = [&](std::int64_t, const TensorView& frames) {
      for (std::int64_t i = 0; i < frames.dim(0); ++i) copy(bench.exec, {frame, frames.select(0, i)});
    };
    return bench.measure(phase, precision.compute, load_seconds, latents,
                         [&] { vae->encode(bench.exec, source, plan, latents); });
  }
  const VaePlan plan = vae->plan_decode(subject.decoded(), bench.budget(), bench.backend.get(), ranks);
  const Tensor latents = bench.normals(subject.latents_of(subject.decoded()));
  const Tensor last(bench.backend->allocator(), DType::kF32, {size.height, size.width, 3});
  return bench.measure(phase, precision.compute, load_seconds, last, [&] {
    vae->decode(bench.exec, latents, plan, [&](const TensorView& frames) {
      copy(bench.exec, {frames.select(0, frames.dim(0) - 1), last});
    });
  });
}

/// Median of `repeats` calls after one that is not counted.
double ceiling_seconds(const Bench& bench, const std::function<void()>& call) {
  constexpr int kRepeats = 7;
  std::vector<double> seconds;
  bench.timed(call);
  for (int i = 0; i < kRepeats; ++i) seconds.push_back(bench.timed(call));
  return median(seconds);
}

void measure_ceilings(Bench& bench, BenchmarkResult& result) {
  // A14B's feed-forward at about half of 832x480x81; less on a CPU, which is as fast on less.
  const std::int64_t rows = bench.on_cpu ? 512 : 16384;
  const std::int64_t in = bench.on_cpu ? 1024 : 5120;
  const std::int64_t out = bench.on_cpu ? 2048 : 13824;
  const DType compute = bench.on_cpu ? DType::kF32 : bench.precision;
  const Tensor x = bench.random(compute, {rows, in});
  const Tensor weight = bench.random(bench.precision, {out, in});
  const Tensor product(bench.backend->allocator(), compute, {rows, out});
  const double seconds = ceiling_seconds(
      bench, [&] { linear(bench.exec, {.x = x, .weight = weight, .bias = {}, .out = product}); });
  result.product_precision = precision_name(bench.precision);
  result.product_flops_per_second = 2.0 * static_cast<double>(rows * in * out) / seconds;

  const std::int64_t elements = std::int64_t{1} << (bench.on_cpu ? 24 : 28);
  const Tensor from = bench.random(DType::kF32, {elements >> 10, 1024});
  const Tensor to(bench.backend->allocator(), DType::kF32, from.shape());
  const double copied = ceiling_seconds(bench, [&] { copy(bench.exec, {from, to}); });
  result.copy_bytes_per_second = 2.0 * static_cast<double>(from.bytes()) / copied;
}

}  // namespace

double BenchmarkRow::median_seconds() const {
  return median(seconds);
}

namespace {

/// Of the options, what the engine's are.
EngineOptions engine_options(const BenchmarkOptions& options) {
  return {.ckpt_dir = {},
          .device = options.device,
          .gpus = options.gpus,
          .ulysses_size = options.ulysses_size,
          .guidance_parallel = options.guidance_parallel,
          .p2p = options.p2p,
          .threads = options.threads};
}

BenchmarkRow measure_part(Bench& bench, const Subject& subject, const char* phase) {
  const std::string_view name = phase;
  if (name == "text") return measure_text(bench, subject);
  if (name == "forward" || name == "first") return measure_passes(bench, subject, phase, 1);
  if (name == "step") return measure_passes(bench, subject, phase, kBranches);
  return measure_vae(bench, subject, phase);
}

/// By all ranks together; what the first one measured.
BenchmarkRow measure_together(const BenchmarkOptions& options, const Subject& subject, const char* phase,
                              std::vector<std::unique_ptr<Backend>> backends) {
  const EngineOptions asked = engine_options(options);
  const auto ranks = static_cast<int>(backends.size());
  RankLayout layout{.sequence = ranks};
  if (phase == std::string_view("step"))
    layout = possible_layouts(asked, ranks, subject.transformer.num_heads, 1, 1).front();
  std::vector<Device> devices;
  std::vector<ComputeDevice*> computing;
  for (const auto& backend : backends) {
    devices.push_back(backend->device());
    computing.push_back(backend.get());
  }
  std::vector<RankConnection> connections(backends.size());
  if (ranks > 1) connections = connect_devices(computing, layout, asked);
  std::vector<std::unique_ptr<Bench>> benches;
  for (std::size_t i = 0; i < backends.size(); ++i)
    benches.push_back(std::make_unique<Bench>(options, backends[i], connections[i]));
  BenchmarkRow row;
  on_rank_threads(
      devices,
      [&](int rank) {
        BenchmarkRow measured = measure_part(*benches[static_cast<std::size_t>(rank)], subject, phase);
        if (rank == 0) row = std::move(measured);
      },
      [&](int rank, const Error& cause) { benches[static_cast<std::size_t>(rank)]->connection.abort(cause); },
      [] { return false; });
  return row;
}

}  // namespace

BenchmarkResult run_benchmark(const BenchmarkOptions& options,
                              const std::function<std::vector<std::unique_ptr<Backend>>()>& make_backends,
                              const std::function<void(const BenchmarkRow&)>& on_row) {
  const Subject subject(options);
  BenchmarkResult result;
  result.tokens = subject.layout().tokens();
  {
    std::vector<std::unique_ptr<Backend>> backends = make_backends();
    result.ranks = static_cast<int>(backends.size());
    RankConnection alone;
    Bench bench(options, backends.front(), alone);
    result.device = to_string(bench.backend->device());
    result.device_total_bytes = bench.backend->total_bytes();
    measure_ceilings(bench, result);
  }
  for (const char* const phase : kPhases) {
    if (!asks_for(options, phase)) continue;
    result.rows.push_back(measure_together(options, subject, phase, make_backends()));
    if (on_row) on_row(result.rows.back());
  }
  return result;
}

BenchmarkResult run_benchmark(const BenchmarkOptions& options,
                              const std::function<void(const BenchmarkRow&)>& on_row) {
  const auto make = [&] {
    std::vector<std::unique_ptr<Backend>> backends;
    for (ChosenBackend& chosen : make_backends(engine_options(options)))
      backends.push_back(std::move(chosen.backend));
    return backends;
  };
  return run_benchmark(options, make, on_row);
}

}  // namespace wan
