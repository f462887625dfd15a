// A memory plan from the published models' shapes, on this machine or a GPU that it need not have.

#include <numeric>

#include "base/memory_info.h"
#include "engine/absent_gpu.h"
#include "engine/backend_factory.h"
#include "engine/engine_internals.h"
#include "engine/layout_choice.h"
#include "engine/memory_plan.h"
#include "media/audio.h"
#include "models/wav2vec2/speech_features.h"
#include "published/known_gpus.h"
#include "published/published_clip.h"
#include "tasks/official_models.h"
#include "tasks/task_table.h"
#include "wan/tools.h"

namespace wan {

namespace {

std::unique_ptr<Backend> backend_of(const PublishedPlanOptions& options) {
  if (options.gpu_bytes > 0) return make_absent_gpu(options.gpu_bytes);
  if (!options.gpu.empty())
    return make_absent_gpu(known_gpu("`gpu`", options.gpu, "its memory, such as 24GB, or ").bytes());
  return make_backend({.ckpt_dir = {}}).backend;
}

/// The best first.
std::vector<RankLayout> layouts_of(const PublishedPlanOptions& options, std::int64_t heads) {
  const int size = options.ulysses_size;
  WAN_CHECK(size >= 1 && size <= heads, kInvalidArgument,
            "`ulysses_size` {}: expected 1 to {}, the model's attention heads", size, heads);
  WAN_CHECK(options.gpus >= 0 && options.gpus <= kMostGpus, kInvalidArgument, "`gpus` {}: expected 1 to {}",
            options.gpus, kMostGpus);
  if (options.gpus == 0) return {{.sequence = size}};
  EngineOptions asked{.ckpt_dir = {}, .ulysses_size = size > 1 ? size : 0};
  asked.gpus.resize(static_cast<std::size_t>(options.gpus));
  std::iota(asked.gpus.begin(), asked.gpus.end(), 0);
  return possible_layouts(asked, rank_count(asked), heads, /*guided_steps=*/1, /*steps=*/1);
}

/// That of a video from a picture of this shape, where a size is the largest area of one.
VideoSize size_of(const Task& task, const VideoSize& asked) {
  if (!task.facts().takes_sound || asked.width <= 0 || asked.height <= 0) return asked;
  const Image picture{.width = asked.width, .height = asked.height, .rgb = {}};
  return task.size_from_image(picture, asked, geometry_of(official_vae(task)),
                              task.published_transformer().patch);
}

/// As many blocks as there are, where options ask for it.
Sharding sharding_of(const PublishedPlanOptions& options, int ranks, bool text_encoder_apart) {
  if (ranks == 1) return {};
  return {.ranks = ranks,
          .transformer_blocks = options.dit_fsdp ? kAllBlocks : 0,
          .text_encoder = options.t5_fsdp && !text_encoder_apart};
}

}  // namespace

std::optional<LatentExtent> published_clip(const Task& task, bool image, const Shape& latent) {
  const TaskFacts& facts = task.facts();
  if (!facts.needs_image && !facts.takes_source && !(facts.takes_image && image)) return std::nullopt;
  const Shape condition = task.condition_shape(geometry_of(official_vae(task)), latent);
  return LatentExtent{condition[1], latent[2], latent[3]};
}

PublishedSound published_sound(const Task& task, int clip_frames) {
  constexpr std::int64_t kSamples = 60 * kSpeechRate;
  if (!task.facts().takes_sound) return {};
  const std::int64_t features = speech_feature_count(published_wav2vec2_config().states(kSamples));
  return {.clips = static_cast<int>(speech_clip_count(features, task.defaults().fps, clip_frames)),
          .samples = kSamples};
}

PublishedPlan plan_published(const PublishedPlanOptions& options) {
  const Task& task = find_task(options.task);
  const ModelDefaults defaults = task.defaults();
  const std::unique_ptr<Backend> backend = backend_of(options);
  const bool on_cpu = backend->device().kind == DeviceKind::kCpu;
  const auto precision_or = [&](const char* usual) {
    return parse_precision("`precision`", options.precision.empty() ? usual : options.precision);
  };
  const DType weights = precision_or(on_cpu ? "fp32" : "bf16");
  const VaePrecision vae_precision{.compute = parse_precision("`vae_precision`", options.vae_precision)};

  PublishedPlan result{.task = options.task,
                       .size = size_of(task, options.size.value_or(defaults.size)),
                       .frame_num = options.frame_num.value_or(defaults.frame_num),
                       .on_gpu = !on_cpu,
                       .plan = {}};
  const Shape latent = official_latent(task, result.size, result.frame_num);
  const std::unique_ptr<Backend> text_backend =
      make_text_backend({.ckpt_dir = {}, .t5_cpu = options.t5_cpu}, *backend);
  std::optional<TextEncoderHost> text_host;
  if (text_backend) {
    text_host = TextEncoderHost{.weights = precision_or("fp32"),
                                .available = available_memory_bytes(),
                                .backend = text_backend.get()};
  }
  const ModelShapes models = official_shapes(task, vae_precision);
  const PublishedSound sound = published_sound(task, result.frame_num);
  const auto planned = [&](const RankLayout& layout) {
    return plan_run({.models = models,
                     .backend = *backend,
                     .latent = latent,
                     .weights = weights,
                     .encodes = published_clip(task, options.image, latent),
                     .residency = options.residency,
                     .memory_limit = options.memory_limit,
                     .keep_models = false,
                     .offload_model = options.offload_model,
                     .sharding = sharding_of(options, layout.ranks(), text_host.has_value()),
                     .text_encoder_host = text_host,
                     .layout = layout,
                     .segments = sound.clips,
                     .decoded_latents = task.decoded_latents(latent[1]),
                     .speech_samples = sound.samples});
  };
  result.plan = plan_in_first(layouts_of(options, models.transformers[0].num_heads), planned, is_whole).plan;
  return result;
}

}  // namespace wan
