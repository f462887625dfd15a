// A memory plan from the published models' shapes, on this machine or a GPU that it need not have.

#include "base/memory_info.h"
#include "engine/absent_gpu.h"
#include "engine/backend_factory.h"
#include "engine/engine_internals.h"
#include "engine/memory_plan.h"
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

/// As many blocks as there are, where options ask for it.
Sharding sharding_of(const PublishedPlanOptions& options, bool text_encoder_apart) {
  if (options.ulysses_size == 1) return {};
  return {.ranks = options.ulysses_size,
          .transformer_blocks = options.dit_fsdp ? kAllBlocks : 0,
          .text_encoder = options.t5_fsdp && !text_encoder_apart};
}

}  // namespace

std::optional<LatentExtent> published_clip(const Task& task, bool image, const Shape& latent) {
  const TaskFacts& facts = task.facts();
  if (!facts.needs_image && !(facts.takes_image && image)) return std::nullopt;
  const Shape condition = task.condition_shape(geometry_of(official_vae(task)), latent);
  return LatentExtent{condition[1], latent[2], latent[3]};
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
                       .size = options.size.value_or(defaults.size),
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
  const std::int64_t heads = models.transformers[0].num_heads;
  WAN_CHECK(options.ulysses_size >= 1 && options.ulysses_size <= heads, kInvalidArgument,
            "`ulysses_size` {}: expected 1 to {}, the model's attention heads", options.ulysses_size, heads);
  result.plan = plan_run({.models = models,
                          .backend = *backend,
                          .latent = latent,
                          .weights = weights,
                          .encodes = published_clip(task, options.image, latent),
                          .residency = options.residency,
                          .memory_limit = options.memory_limit,
                          .keep_models = false,
                          .offload_model = options.offload_model,
                          .sharding = sharding_of(options, text_host.has_value()),
                          .text_encoder_host = text_host,
                          .layout = {.sequence = options.ulysses_size}})
                    .plan;
  return result;
}

}  // namespace wan
