#include "published/layouts.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <iterator>
#include <map>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "engine/absent_gpu.h"
#include "engine/memory_plan.h"
#include "engine/vae_factory.h"
#include "ops/counting_backend.h"
#include "published/published_clip.h"
#include "published/random_weights.h"
#include "published/time_estimate.h"
#include "tasks/official_models.h"
#include "tasks/task_table.h"

namespace wan {

namespace {

constexpr PublishedVideo kVideos[] = {
    {"t2v-A14B", {832, 480}},  {"t2v-A14B", {1280, 720}}, {"i2v-A14B", {832, 480}},
    {"i2v-A14B", {1280, 720}}, {"ti2v-5B", {1280, 704}},  {"s2v-14B", {1024, 704}},
};

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

/// 2 of "x2"; 0 for any other word.
int count_of(const std::string& word) {
  int count = 0;
  const char* const end = word.data() + word.size();
  const bool whole = word.size() > 1 && word[0] == 'x' &&
                     std::from_chars(word.data() + 1, end, count) == std::from_chars_result{end, std::errc()};
  return whole ? count : 0;
}

const char* link_name(GpuLink link) {
  switch (link) {
    case GpuLink::kNvlink:
      return "NVLink";
    case GpuLink::kPcie:
      return "PCIe";
    case GpuLink::kHost:
      return "the host's memory alone";
  }
  return "";
}

/// Floating-point operations of decoding the latents and encoding the clip, as the ops count them on a device that computes nothing.
std::int64_t count_vae(const Task& task, const Shape& latent, const std::optional<LatentExtent>& encodes) {
  Rehearsal rehearsal(Device{});
  WeightReport report(empty_checkpoint(), "VAE");
  Allocator& memory = rehearsal.backend.allocator();
  const auto vae = make_vae(WeightScope::rehearsing(report, memory, DType::kF32), {}, official_vae(task));
  constexpr std::size_t kEnough = std::size_t{1} << 42;  // for whole frames
  std::int64_t flops = 0;
  rehearsal.ctx.flops = &flops;
  const std::int64_t frames = task.decoded_latents(latent[1]);
  const Tensor latents(memory, DType::kF32, {latent[0], frames, latent[2], latent[3]});
  vae->decode(rehearsal.ctx, latents, vae->plan_decode({frames, latent[2], latent[3]}, kEnough),
              [](const TensorView&) {});
  if (!encodes) return flops;
  const Tensor clip(memory, DType::kF32, {latent[0], encodes->frames, encodes->height, encodes->width});
  vae->encode(
      rehearsal.ctx, [](std::int64_t, const TensorView&) {}, vae->plan_encode(*encodes, kEnough), clip);
  return flops;
}

/// What does not depend on the layout.
struct VideoWork {
  VideoWork(const PublishedVideo& video, const GpuSet& gpus)
      : task(find_task(video.task)),
        defaults(task.defaults()),
        models(official_shapes(task, {})),
        latent(official_latent(task, video.size, defaults.frame_num)),
        encodes(published_clip(task, /*image=*/false, latent)),
        gpu(make_absent_gpu(gpus.memory)),
        free(gpus.free),
        work(pass_work(models.transformers[0], latent)),
        vae_flops(count_vae(task, latent, encodes)) {}

  const Task& task;
  ModelDefaults defaults;
  ModelShapes models;
  Shape latent;
  std::optional<LatentExtent> encodes;
  PublishedSound sound = published_sound(task, defaults.frame_num);
  std::unique_ptr<Backend> gpu;
  std::int64_t free;
  PassWork work;
  std::int64_t vae_flops;
};

/// The plan of a GPU with most to do; nothing where the video does not fit.
std::optional<PlannedRun> plan_of(const VideoWork& job, const StepLayout& layout, const char* residency) {
  try {
    return plan_run({.models = job.models,
                     .backend = *job.gpu,
                     .latent = job.latent,
                     .weights = DType::kBF16,
                     .encodes = job.encodes,
                     .residency = residency,
                     .memory_limit = job.free,
                     .keep_models = false,
                     .sharding = layout.sharded ? Sharding{.ranks = layout.ranks.ranks(),
                                                           .transformer_blocks = kAllBlocks}
                                                : Sharding{},
                     .layout = layout.ranks,
                     .segments = job.sound.clips,
                     .decoded_latents = job.task.decoded_latents(job.latent[1]),
                     .speech_samples = job.sound.samples});
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kOutOfMemory) throw;
    return std::nullopt;
  }
}

/// "2 x (31.0 s + 31.0 GB / 22 GB/s) = 64.8 s"
std::string step_arithmetic(const VideoWork& job, const StepLayout& layout, const GpuRates& rates,
                            const StepSeconds& step) {
  const int passes = 2 / layout.ranks.groups;
  std::string text = fmt::format("{:.2f} s", step.computing / passes);
  if (layout.ranks.sequence > 1)
    text = fmt::format("({} + {:.1f} GB / {:.0f} GB/s)", text,
                       exchanged_bytes(job.work, layout.ranks.sequence) * 1e-9, rates.link_bytes * 1e-9);
  text = fmt::format("{} x {}", passes, text);
  if (step.waiting > 0) text += fmt::format(" + {:.2f} s for weights", step.waiting);
  return fmt::format("{} = {:.1f} s", text, step.all());
}

DoctorLayout describe_layout(const VideoWork& job, const StepLayout& layout, const PlannedRun& planned,
                             const char* weights) {
  const MemoryPlan& plan = planned.plan;
  DoctorLayout result{.gpus = layout.ranks.ranks(),
                      .guidance_parallel = layout.ranks.groups > 1,
                      .ulysses_size = layout.ranks.sequence,
                      .weights = weights,
                      .block_places = plan.block_places,
                      .weight_bytes = plan.transformers + plan.text_encoder,
                      .activations = plan.activations + plan.context_cache + plan.latents,
                      .vae = plan.vae,
                      .peak = plan.peak,
                      .available = plan.available,
                      .vae_tile = plan.vae_tile,
                      .host_read_step = static_cast<std::int64_t>(layout.streamed * job.work.block_bytes *
                                                                  static_cast<double>(job.work.layers))};
  result.blocks = static_cast<int>(job.models.text_encoder.num_layers);
  for (const WanConfig& transformer : job.models.transformers)
    result.blocks += static_cast<int>(transformer.num_layers);
  return result;
}

struct Way {
  StepLayout step;
  DoctorLayout layout;
};

/// The ways to hold weights that fit.
std::vector<Way> ways_to_hold(const VideoWork& job, const StepLayout& layout) {
  std::vector<Way> ways;
  const auto add = [&](const StepLayout& step, const PlannedRun& planned, const char* weights) {
    ways.push_back({step, describe_layout(job, step, planned, weights)});
  };
  const std::optional<PlannedRun> most = plan_of(job, layout, "auto");
  const std::optional<PlannedRun> two = plan_of(job, layout, "streamed");
  if (most && most->plan.blocks_resident) {
    add(layout, *most, "resident");
  } else if (most && most->plan.block_places > 2) {
    StepLayout partly = layout;
    partly.streamed = std::max(0.0, 1.0 - most->plan.block_places / static_cast<double>(job.work.layers));
    add(partly, *most, "as many as fit");
  }
  if (layout.ranks.ranks() > 1) {
    StepLayout sharded = layout;
    sharded.sharded = true;
    const std::optional<PlannedRun> shares = plan_of(job, sharded, "auto");
    if (shares && shares->plan.sharded_blocks > 0) {
      const MemoryPlan& plan = shares->plan;
      const bool all = plan.sharded_blocks == plan.transformer_blocks;
      sharded.streamed = 1.0 - plan.sharded_blocks / static_cast<double>(plan.transformer_blocks);
      add(sharded, *shares, all ? "sharded" : "partly sharded");
      ways.back().layout.block_places = plan.sharded_blocks;
      ways.back().layout.blocks = plan.transformer_blocks;
    }
  }
  if (!two) return ways;
  StepLayout streamed = layout;
  streamed.streamed = 1;
  add(streamed, *two, "streamed");
  return ways;
}

void estimate(const VideoWork& job, const StepLayout& step, const GpuRates& rates, DoctorLayout& layout) {
  const StepSeconds seconds = step_seconds(job.work, step, rates);
  layout.step_seconds = seconds.all();
  layout.exchange_seconds = seconds.exchanging;
  layout.waiting_seconds = seconds.waiting;
  layout.video_seconds = job.defaults.sample_steps * seconds.all() +
                         vae_seconds(job.task.facts().vae, job.vae_flops, rates, layout.gpus);
  layout.arithmetic = step_arithmetic(job, step, rates, seconds);
}

/// The simplest way to hold weights first, and those that read from the host last.
int preference(const DoctorLayout& layout) {
  const char* const order[] = {"resident", "sharded", "as many as fit", "partly sharded", "streamed"};
  return static_cast<int>(std::find(std::begin(order), std::end(order), layout.weights) - std::begin(order));
}

/// Faster, or about as fast and simpler, or with fewer bytes.
bool is_better(const DoctorLayout& layout, const DoctorLayout& than) {
  const double ratio = than.video_seconds > 0 ? layout.video_seconds / than.video_seconds : 1;
  if (ratio < 0.99 || ratio > 1.01) return ratio < 1;
  return std::pair(preference(layout), layout.peak) < std::pair(preference(than), than.peak);
}

/// One of each number of GPUs.
void mark_best(std::vector<DoctorLayout>& layouts) {
  std::map<int, DoctorLayout*> best;
  for (DoctorLayout& layout : layouts) {
    DoctorLayout*& so_far = best[layout.gpus];
    if (so_far == nullptr || is_better(layout, *so_far)) so_far = &layout;
  }
  for (const auto& [gpus, layout] : best) layout->best = true;
}

/// 1, 2, 4, ... and all.
std::vector<int> counts_up_to(int all) {
  std::vector<int> counts;
  for (int count = 1; count < all; count *= 2) counts.push_back(count);
  counts.push_back(all);
  return counts;
}

/// Guidance in parallel first: it exchanges least.
std::vector<StepLayout> step_layouts(int gpus, std::int64_t heads) {
  std::vector<StepLayout> layouts;
  if (gpus % 2 == 0 && gpus / 2 <= heads) layouts.push_back({.ranks = {.sequence = gpus / 2, .groups = 2}});
  if (gpus <= heads) layouts.push_back({.ranks = {.sequence = gpus}});
  return layouts;
}

}  // namespace

GpuSet parse_pretended(std::string_view text) {
  std::istringstream words{std::string(text)};
  std::string name;
  std::string link;
  int count = 0;
  for (std::string word; words >> word;) {
    const std::string plain = lower(word);
    if (count > 0) {
      WAN_CHECK(link.empty() && (plain == "nvlink" || plain == "pcie" || plain == "host"), kInvalidArgument,
                "`pretend` {}: behind the number of GPUs expected nvlink, pcie or host, got {}", text, word);
      link = plain;
    } else if (const int given = count_of(plain); given > 0) {
      count = given;
    } else {
      name += (name.empty() ? "" : " ") + word;
    }
  }
  WAN_CHECK(count <= kMostGpus, kInvalidArgument, "`pretend` {}: expected at most {} GPUs", text, kMostGpus);
  WAN_CHECK(!name.empty(), kInvalidArgument, "`pretend` {}: expected a GPU and how many, such as A40 x2",
            text);
  const KnownGpu& known = known_gpu("`pretend`", name);
  GpuLink kind = known.usual_link;
  if (link == "pcie") kind = GpuLink::kPcie;
  if (link == "host") kind = GpuLink::kHost;
  if (link == "nvlink") kind = GpuLink::kNvlink;
  WAN_CHECK(kind != GpuLink::kNvlink || known.nvlink_gigabytes > 0, kInvalidArgument,
            "`pretend` {}: {} has no NVLink; say pcie or host", text, std::string(known.name));
  return {.name = std::string(known.name),
          .known = &known,
          .memory = known.bytes(),
          .count = std::max(count, 1),
          .link = kind};
}

std::string describe(const GpuSet& gpus) {
  const double gigabytes = 1e-9 * static_cast<double>(gpus.memory);
  if (gpus.count == 1) return fmt::format("1 x {}, {:.1f} GB", gpus.name, gigabytes);
  return fmt::format("{} x {}, {:.1f} GB each, linked by {}", gpus.count, gpus.name, gigabytes,
                     link_name(gpus.link));
}

std::span<const PublishedVideo> published_videos() {
  return kVideos;
}

DoctorVideo plan_layouts(const PublishedVideo& video, const GpuSet& gpus) {
  const VideoWork job(video, gpus);
  const PassWork& work = job.work;
  DoctorVideo result{.task = std::string(video.task),
                     .size = video.size,
                     .frames = job.defaults.frame_num,
                     .steps = job.defaults.sample_steps,
                     .tokens = work.tokens,
                     .pass_flops = work.attention_flops + work.product_flops};
  std::optional<GpuRates> rates;
  if (gpus.known != nullptr) {
    rates = rates_of(*gpus.known, gpus.link);
    if (gpus.link_bytes > 0) rates->link_bytes = gpus.link_bytes;
    result.pass_seconds = pass_seconds(work, *rates);
    result.vae_seconds = vae_seconds(job.task.facts().vae, job.vae_flops, *rates);
    result.arithmetic = fmt::format(
        "a pass: {:.2f} PFLOP of attention / {:.0f} TF/s + {:.2f} of products / {:.0f} + {:.2f} TB / {:.2f} "
        "TB/s = "
        "{:.2f} s; VAE: {:.2f} PFLOP / {:.0f} TF/s = {:.1f} s",
        work.attention_flops * 1e-15, rates->attention_flops * 1e-12, work.product_flops * 1e-15,
        rates->product_flops * 1e-12, work.memory_bytes * 1e-12, rates->memory_bytes * 1e-12,
        result.pass_seconds, static_cast<double>(job.vae_flops) * 1e-15,
        static_cast<double>(job.vae_flops) * 1e-12 / result.vae_seconds, result.vae_seconds);
  }
  for (const int count : counts_up_to(gpus.count))
    for (const StepLayout& layout : step_layouts(count, work.heads))
      for (Way& way : ways_to_hold(job, layout)) {
        if (rates) estimate(job, way.step, *rates, way.layout);
        result.layouts.push_back(std::move(way.layout));
      }
  mark_best(result.layouts);
  return result;
}

}  // namespace wan
