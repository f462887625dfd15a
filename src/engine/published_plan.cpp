// A memory plan from the published models' shapes, on this machine or a GPU that it need not have.

#include "backends/cpu/cpu_backend.h"
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/scratch.h"
#include "base/memory_info.h"
#include "engine/backend_factory.h"
#include "engine/engine_internals.h"
#include "engine/gpu_memory.h"
#include "engine/memory_plan.h"
#include "ops/counting_backend.h"
#include "tasks/official_models.h"
#include "tasks/task_table.h"
#include "wan/tools.h"

namespace wan {

namespace {

/// A GPU of so much memory with nothing in it.
class AbsentGpu final : public IdleBackend<AbsentGpu> {
 public:
  explicit AbsentGpu(std::int64_t bytes) : bytes_(bytes) {}

  const char* name() const override { return "absent"; }
  Device device() const override { return memory_.device(); }
  Allocator& allocator() override { return memory_; }
  void synchronize() override {}
  void upload(const TensorView&, const TensorView&) override {}
  void download(const TensorView&, const TensorView&) override {}
  /// The rest is what CUDA takes for itself before anything is allocated.
  std::int64_t free_bytes() const override { return bytes_ - kContext; }
  std::int64_t reserved_bytes() const override { return kLibraries; }
  std::int64_t library_bytes() const override {
    return static_cast<std::int64_t>(cuda::kProductWorkspaceBytes);
  }
  std::int64_t total_bytes() const override { return bytes_; }
  void take_scratch_op(Workspace& workspace, const AttentionArgs& args) {
    cuda::take_scratch(workspace, args, {.hopper = false, .scores = CudaBackendOptions{}.attention_scores});
  }
  void take_scratch_op(Workspace& workspace, const Conv3dArgs& args) { cuda::take_scratch(workspace, args); }
  void take_scratch_op(Workspace& workspace, const LinearArgs& args) { cuda::take_scratch(workspace, args); }

 private:
  static constexpr std::int64_t kContext = std::int64_t{1} << 29;
  static constexpr std::int64_t kLibraries = std::int64_t{1} << 30;  // as of a real one
  std::int64_t bytes_;
  AddressAllocator memory_{Device{DeviceKind::kCuda, 0}};
};

std::unique_ptr<Backend> backend_of(const PublishedPlanOptions& options) {
  if (options.gpu_bytes > 0) return std::make_unique<AbsentGpu>(options.gpu_bytes);
  if (!options.gpu.empty()) return std::make_unique<AbsentGpu>(gpu_memory_bytes(options.gpu));
  return make_backend({.ckpt_dir = {}}).backend;
}

/// The clip that images become.
std::optional<LatentExtent> encoded_clip(const Task& task, bool image, const Shape& latent) {
  const TaskFacts& facts = task.facts();
  if (!facts.needs_image && !(facts.takes_image && image)) return std::nullopt;
  const Shape condition = task.condition_shape(geometry_of(official_vae(task)), latent);
  return LatentExtent{condition[1], latent[2], latent[3]};
}

}  // namespace

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
  std::unique_ptr<Backend> text_backend;
  std::optional<TextEncoderHost> text_host;
  if (options.t5_cpu && !on_cpu) {
    text_backend = make_cpu_backend({});
    text_host = TextEncoderHost{.weights = precision_or("fp32"),
                                .available = available_memory_bytes(),
                                .backend = text_backend.get()};
  }
  result.plan = plan_run({.models = official_shapes(task, vae_precision),
                          .backend = *backend,
                          .latent = latent,
                          .weights = weights,
                          .encodes = encoded_clip(task, options.image, latent),
                          .residency = options.residency,
                          .memory_limit = options.memory_limit,
                          .keep_models = false,
                          .offload_model = options.offload_model,
                          .text_encoder_host = text_host})
                    .plan;
  return result;
}

}  // namespace wan
