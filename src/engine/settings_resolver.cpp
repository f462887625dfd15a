#include "engine/settings_resolver.h"

#include <cmath>
#include <random>

#include "base/atomic_file.h"
#include "media/image_size.h"
#include "media/load_image.h"
#include "media/output.h"
#include "pipeline/image_to_video.h"
#include "pipeline/text_image_to_video.h"
#include "text/prompt_cleaning.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

std::int64_t random_seed() {
  std::random_device device;
  const std::uint64_t bits = (static_cast<std::uint64_t>(device()) << 32) | device();
  return static_cast<std::int64_t>(bits >> 1);
}

int nearest_multiple(int value, int unit) {
  return std::max(unit, (value + unit / 2) / unit * unit);
}

void check_size(const VideoSize& size, const PatchSize& patch, const VaeGeometry& vae) {
  const int unit_x = vae.spatial_stride * patch[2];
  const int unit_y = vae.spatial_stride * patch[1];
  constexpr int kMost = 8192;  // of a side; keeps every product of sizes far from overflow
  WAN_CHECK(
      size.width % unit_x == 0 && size.height % unit_y == 0 && size.width <= kMost && size.height <= kMost,
      kInvalidArgument, "--size {}: this model needs multiples of {} up to {}; the nearest is {}",
      format_video_size(size), unit_x, kMost,
      format_video_size({nearest_multiple(std::min(size.width, kMost), unit_x),
                         nearest_multiple(std::min(size.height, kMost), unit_y)}));
}

void check_frame_num(int frames, int stride) {
  constexpr int kMost = 100000;
  const int nearest = std::max(1, (frames - 1 + stride / 2) / stride * stride + 1);
  WAN_CHECK(frames >= 1 && frames <= kMost && (frames - 1) % stride == 0, kInvalidArgument,
            "--frame_num {}: expected {}n + 1 frames; the nearest is {}", frames, stride,
            std::min(nearest, kMost - 3));
}

/// PyTorch's generator of the device that the official code would run on.
RandomSpec random_spec_of(const GenerationRequest& request, const EngineFacts& engine) {
  const bool on_cpu = engine.device.kind == DeviceKind::kCpu;
  return parse_random_spec(request.rng.empty() ? (on_cpu ? "torch-cpu" : "torch-cuda") : request.rng,
                           engine.grid);
}

GenerationSettings settings_of(const GenerationRequest& request, const ModelDefaults& defaults,
                               const EngineFacts& engine) {
  GenerationSettings s;
  s.task = request.task;
  s.prompt = request.prompt;
  s.negative_prompt = request.negative_prompt.value_or(defaults.negative_prompt);
  s.seed = request.seed && *request.seed >= 0 ? *request.seed : random_seed();
  s.size = request.size.value_or(defaults.size);
  s.frame_num = request.frame_num.value_or(defaults.frame_num);
  s.fps = defaults.fps;
  s.solver = parse_solver(request.sample_solver.value_or(defaults.sample_solver));
  s.steps = request.sample_steps.value_or(defaults.sample_steps);
  s.shift = request.sample_shift.value_or(defaults.sample_shift);
  s.guide_scale = request.sample_guide_scale.value_or(defaults.sample_guide_scale);
  s.boundary = defaults.boundary;
  s.rng = random_spec_of(request, engine);
  s.precision = engine.precision;
  s.area = s.size;
  s.image = request.image.string();
  s.last_image = request.last_image.string();
  return s;
}

/// Images are given where the task takes them, and only there.
void check_image_options(const GenerationRequest& request, const TaskInfo& task) {
  WAN_CHECK(request.image.empty() || task.image != ImageUse::kNone, kInvalidArgument,
            "--image: {} makes its video from --prompt alone; i2v-A14B and ti2v-5B take an image", task.name);
  WAN_CHECK(request.last_image.empty() || task.takes_last_image, kInvalidArgument,
            "--last_image: {} takes none; i2v-A14B does", task.name);
  if (!request.from_latents.empty()) return;
  const bool given = !request.image.empty() || !request.last_image.empty();
  WAN_CHECK(given || task.image != ImageUse::kRequired, kInvalidArgument,
            "--image is missing: name the picture that the video begins with");
  WAN_CHECK(given || request.prompt.find_first_not_of(" \t\r\n") != std::string::npos, kInvalidArgument,
            "--prompt is empty: say what the video shows");
}

InputImages load_images(const GenerationRequest& request) {
  InputImages images;
  if (!request.image.empty()) images.first = load_image(request.image);
  if (!request.last_image.empty()) images.last = load_image(request.last_image);
  return images;
}

/// The size of a video that begins (or ends) with an image, by the task's own rule.
VideoSize size_from_image(const Image& image, const VideoSize& area, const CheckpointModels& models) {
  const int stride = models.vae->geometry().spatial_stride;
  const PatchSize& patch = models.config().patch;
  const std::int64_t pixels = std::int64_t{area.width} * area.height;
  const ImageSize from{image.width, image.height};
  const ImageSize size = models.task->image == ImageUse::kRequired
                             ? area_size_i2v(from, pixels, stride, patch[1])
                             : best_output_size(from, stride * patch[2], stride * patch[1], pixels);
  return {size.width, size.height};
}

/// What an unfinished run's images became, in the shape that the task's pipeline takes it.
void check_kept_condition(const ResolvedRequest& resolved, const CheckpointModels& models,
                          const std::string& where) {
  const GenerationSettings& settings = resolved.settings;
  const SavedLatents& saved = *resolved.resumed;
  if (saved.finished() || (settings.image.empty() && settings.last_image.empty())) return;
  const Shape expected = models.task->image == ImageUse::kRequired
                             ? image_channels_shape(models.vae->geometry(), resolved.latent)
                             : first_frame_shape(resolved.latent);
  WAN_CHECK(!saved.condition.empty() && saved.condition.shape() == expected, kBadFile,
            "{}: expected a tensor \"condition\" {}, which the run's image became; these latents are damaged",
            where, expected.to_string());
}

/// An option given beside --from_latents must not contradict what the run was begun with.
template <typename Given, typename Kept>
void check_agrees(const char* option, const std::optional<Given>& given, const Kept& kept,
                  const std::string& shown) {
  WAN_CHECK(!given || *given == kept, kInvalidArgument,
            "{} contradicts the latents, which were begun with {}; leave it out to go on with them", option,
            shown);
}

void check_agreement(const GenerationRequest& request, const GenerationSettings& kept) {
  const auto prompt = request.prompt.empty() ? std::nullopt : std::optional(request.prompt);
  check_agrees("--prompt", prompt, kept.prompt, kept.prompt);
  check_agrees("--negative_prompt", request.negative_prompt, kept.negative_prompt, kept.negative_prompt);
  const VideoSize& size = kept.image.empty() && kept.last_image.empty() ? kept.size : kept.area;
  check_agrees("--size", request.size, size, format_video_size(size));
  const auto path = [](const fs::path& given) {
    return given.empty() ? std::nullopt : std::optional(given.string());
  };
  check_agrees("--image", path(request.image), kept.image, kept.image.empty() ? "no image" : kept.image);
  check_agrees("--last_image", path(request.last_image), kept.last_image,
               kept.last_image.empty() ? "no image" : kept.last_image);
  check_agrees("--frame_num", request.frame_num, kept.frame_num, std::to_string(kept.frame_num));
  check_agrees("--base_seed", request.seed, kept.seed, std::to_string(kept.seed));
  check_agrees("--sample_solver", request.sample_solver, std::string(solver_name(kept.solver)),
               solver_name(kept.solver));
  check_agrees("--sample_steps", request.sample_steps, kept.steps, std::to_string(kept.steps));
  check_agrees("--sample_shift", request.sample_shift, kept.shift, fmt::format("{}", kept.shift));
  const auto scale = request.sample_guide_scale
                         ? std::optional(format_guidance_scale(*request.sample_guide_scale))
                         : std::nullopt;
  check_agrees("--sample_guide_scale", scale, format_guidance_scale(kept.guide_scale),
               format_guidance_scale(kept.guide_scale));
}

/// Settings of a run that goes on from `saved`; size and frames of latents of another program come from their shape.
GenerationSettings resumed_settings(const GenerationRequest& request, const ModelDefaults& defaults,
                                    const SavedLatents& saved, const VaeGeometry& vae,
                                    const EngineFacts& engine) {
  if (saved.settings) {
    check_agreement(request, *saved.settings);
    GenerationSettings settings = *saved.settings;
    WAN_CHECK(settings.task == request.task, kInvalidArgument, "these latents are of --task {}",
              settings.task);
    WAN_CHECK(saved.finished() || settings.precision == engine.precision, kInvalidArgument,
              "the unfinished run was begun with --precision {}; go on with it", settings.precision);
    return settings;
  }
  GenerationSettings settings = settings_of(request, defaults, engine);
  const Shape& shape = saved.slots[0].shape();
  WAN_CHECK(shape[1] >= 1 && shape[2] >= 1 && shape[3] >= 1 && shape[1] < 30000 && shape[2] < 2000 &&
                shape[3] < 2000,
            kBadFile, "the latents have the shape {}", shape.to_string());
  settings.size = {static_cast<int>(shape[3]) * vae.spatial_stride,
                   static_cast<int>(shape[2]) * vae.spatial_stride};
  settings.area = settings.size;
  settings.frame_num = static_cast<int>(vae.frames(shape[1]));
  return settings;
}

void check_text(const char* option, const std::string& text) {
  try {
    clean_prompt(text);
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", option, error.what());
  }
}

void check_outputs(const GenerationRequest& request, const ResolvedRequest& resolved) {
  WAN_CHECK(!request.save_file.empty(), kInvalidArgument,
            "--save_file is missing: name the video, such as video.mp4");
  check_output_writable(request.save_file, resolved.settings.frame_num);
  check_writable_target(resolved.latents_file);
  if (resolved.keep_latents)
    WAN_CHECK(resolved.latents_file.extension() == ".safetensors", kInvalidArgument,
              "--save_latents {}: expected a name that ends in .safetensors", resolved.latents_file.string());
  WAN_CHECK(!request.dump_taps || !request.dump_dir.empty(), kInvalidArgument,
            "--dump_taps needs --dump, the folder that the layer outputs go to");
  if (request.dump_dir.empty()) return;
  WAN_CHECK(!fs::exists(request.dump_dir) || fs::is_directory(request.dump_dir), kInvalidArgument,
            "--dump {}: it is a file; name a folder", request.dump_dir.string());
  check_writable_target(fs::exists(request.dump_dir) ? request.dump_dir / "manifest.json" : request.dump_dir);
}

}  // namespace

ResolvedRequest resolve_request(const GenerationRequest& request, const CheckpointModels& models,
                                const EngineFacts& engine) {
  const ModelDefaults defaults = load_model_defaults(request.task, models.files.root);
  const VaeGeometry vae = models.vae->geometry();
  WAN_CHECK(models.task->name == request.task, kInvalidArgument, "{} holds {}; use --task {}",
            models.files.root.string(), models.task->checkpoint, models.task->name);
  check_image_options(request, *models.task);
  ResolvedRequest resolved;
  GenerationSettings& settings = resolved.settings;
  if (request.from_latents.empty()) {
    settings = settings_of(request, defaults, engine);
    resolved.images = load_images(request);
    const InputImages& images = resolved.images;
    if (images.first || images.last)
      settings.size = size_from_image(images.first ? *images.first : *images.last, settings.area, models);
  } else {
    resolved.resumed = load_latents(request.from_latents);
    settings = resumed_settings(request, defaults, *resolved.resumed, vae, engine);
  }
  check_text("--prompt", settings.prompt);
  check_text("--negative_prompt", settings.negative_prompt);
  check_size(settings.size, models.config().patch, vae);
  check_frame_num(settings.frame_num, vae.temporal_stride);
  WAN_CHECK(settings.last_image.empty() || settings.frame_num > 1, kInvalidArgument,
            "--last_image with --frame_num 1: a still has no last frame; use --image");
  make_scheduler(settings.solver, settings.steps,
                 settings.shift);  // throws for steps and shifts that cannot be
  const Guidance guidance(settings.guide_scale, settings.boundary);
  if (settings.model.empty()) settings.model = fs::weakly_canonical(models.files.root).filename().string();
  settings.precision = engine.precision;

  resolved.latent = {vae.z_dim, vae.latent_frames(settings.frame_num),
                     settings.size.height / vae.spatial_stride, settings.size.width / vae.spatial_stride};
  if (resolved.resumed)
    WAN_CHECK(resolved.resumed->slots[0].shape() == resolved.latent, kBadFile,
              "{}: the latents are {}, expected {} for {} frames of {}", request.from_latents.string(),
              resolved.resumed->slots[0].shape().to_string(), resolved.latent.to_string(), settings.frame_num,
              format_video_size(settings.size));
  if (resolved.resumed) check_kept_condition(resolved, models, request.from_latents.string());
  resolved.save_file = request.save_file;
  resolved.keep_latents = !request.save_latents.empty();
  resolved.latents_file = resolved.keep_latents
                              ? request.save_latents
                              : fs::path(request.save_file.string() + ".latents.safetensors");
  check_outputs(request, resolved);
  return resolved;
}

}  // namespace wan
