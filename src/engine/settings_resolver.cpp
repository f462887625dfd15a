#include "engine/settings_resolver.h"

#include <cmath>
#include <random>

#include "base/atomic_file.h"
#include "engine/resume_checks.h"
#include "media/image_size.h"
#include "media/load_image.h"
#include "media/output.h"
#include "pipeline/dump_folder.h"
#include "request/attributed.h"
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

/// Of multiples of the units: an official size that is less than a unit away, else the nearest.
VideoSize size_to_offer(const VideoSize& asked, int unit_x, int unit_y) {
  constexpr VideoSize kOfficial[] = {{1280, 720}, {720, 1280}, {832, 480},
                                     {480, 832},  {1280, 704}, {704, 1280}};
  for (const VideoSize& size : kOfficial)
    if (size.width % unit_x == 0 && size.height % unit_y == 0 &&
        std::abs(size.width - asked.width) < unit_x && std::abs(size.height - asked.height) < unit_y)
      return size;
  return {nearest_multiple(asked.width, unit_x), nearest_multiple(asked.height, unit_y)};
}

/// Where values come from that no option gives: errors must name that file, and no option.
struct ValueSource {
  std::string file;

  template <typename Check>
  decltype(auto) checked(bool given, const char* key, Check&& check) const {
    if (given) return check();
    return attributed(file, key, check);
  }
};

void check_size(const VideoSize& size, const PatchSize& patch, const VaeGeometry& vae) {
  const int unit_x = vae.spatial_stride * patch[2];
  const int unit_y = vae.spatial_stride * patch[1];
  constexpr int kMost = 8192;  // of a side; keeps every product of sizes far from overflow
  const auto possible = [](int side, int unit) { return side > 0 && side <= kMost && side % unit == 0; };
  WAN_CHECK(possible(size.width, unit_x) && possible(size.height, unit_y), kInvalidArgument,
            "--size {}: this model needs multiples of {} up to {}; the nearest is {}",
            format_video_size(size), unit_x, kMost,
            format_video_size(size_to_offer(
                {std::clamp(size.width, 0, kMost), std::clamp(size.height, 0, kMost)}, unit_x, unit_y)));
}

void check_frame_num(int frames, int stride) {
  const int most = 99'999 / stride * stride + 1;
  WAN_CHECK(frames <= most, kInvalidArgument, "--frame_num {}: expected at most {} frames", frames, most);
  const int nearest = (std::max(frames, 1) - 1 + stride / 2) / stride * stride + 1;
  WAN_CHECK(frames >= 1 && (frames - 1) % stride == 0, kInvalidArgument,
            "--frame_num {}: expected {}n + 1 frames; the nearest is {}", frames, stride, nearest);
}

/// PyTorch's generator of the device that the official code would run on.
RandomSpec random_spec_of(const GenerationRequest& request, const EngineFacts& engine) {
  const bool on_cpu = engine.device.kind == DeviceKind::kCpu;
  return parse_random_spec(request.rng.empty() ? (on_cpu ? "torch-cpu" : "torch-cuda") : request.rng,
                           engine.grid);
}

GenerationSettings settings_of(const GenerationRequest& request, const ModelDefaults& defaults,
                               const EngineFacts& engine, const ValueSource& where) {
  GenerationSettings s;
  s.task = request.task;
  s.prompt = request.prompt;
  s.negative_prompt = request.negative_prompt.value_or(defaults.negative_prompt);
  s.seed = request.seed && *request.seed >= 0 ? *request.seed : random_seed();
  s.size = request.size.value_or(defaults.size);
  s.frame_num = request.frame_num.value_or(defaults.frame_num);
  s.fps = defaults.fps;
  s.solver = where.checked(request.sample_solver.has_value(), "sample_solver", [&] {
    return parse_solver(request.sample_solver.value_or(defaults.sample_solver));
  });
  s.steps = request.sample_steps.value_or(defaults.sample_steps);
  s.shift = request.sample_shift.value_or(defaults.sample_shift);
  s.guide_scale = request.sample_guide_scale.value_or(defaults.sample_guide_scale);
  s.boundary = defaults.boundary;
  s.rng = random_spec_of(request, engine);
  s.precision = engine.precision;
  s.vae_precision = engine.vae_precision;
  s.area = s.size;
  s.image = request.image.string();
  s.last_image = request.last_image.string();
  return s;
}

std::string cleaned(const char* option, const std::string& text) {
  try {
    return clean_prompt(text);
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", option, error.what());
  }
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
  WAN_CHECK(given || !cleaned("--prompt", request.prompt).empty(), kInvalidArgument,
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
  WAN_CHECK(area.width > 0 && area.height > 0, kInvalidArgument,
            "--size {}: expected a width and a height above 0, such as 832*480", format_video_size(area));
  const std::int64_t pixels = std::int64_t{area.width} * area.height;
  const ImageSize from{image.width, image.height};
  const ImageSize size = models.task->image == ImageUse::kRequired
                             ? area_size_i2v(from, pixels, stride, patch[1])
                             : best_output_size(from, stride * patch[2], stride * patch[1], pixels);
  return {size.width, size.height};
}

void check_outputs(const GenerationRequest& request, const ResolvedRequest& resolved) {
  WAN_CHECK(!request.save_file.empty(), kInvalidArgument,
            "--save_file is missing: name the video, such as video.mp4");
  check_output_writable(request.save_file, resolved.settings.frame_num, resolved.settings.encoding);
  WAN_CHECK(request.save_latents.empty() || request.save_latents.extension() == ".safetensors",
            kInvalidArgument, "--save_latents {}: expected a name that ends in .safetensors",
            request.save_latents.string());
  check_writable_target(resolved.latents.path);
  WAN_CHECK(!request.dump_taps || !request.dump_dir.empty(), kInvalidArgument,
            "--dump_taps needs --dump, the folder that the layer outputs go to");
  if (request.dump_dir.empty()) return;
  WAN_CHECK(!fs::exists(request.dump_dir) || fs::is_directory(request.dump_dir), kInvalidArgument,
            "--dump {}: it is a file; name a folder", request.dump_dir.string());
  check_dump_folder(request.dump_dir);
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
  ValueSource where{(models.files.root / "generation_config.json").string()};
  if (!request.from_latents.empty()) resolved.resumed = load_latents(request.from_latents);
  const bool kept = resolved.resumed && resolved.resumed->settings;
  if (kept) {
    settings = kept_settings(request, *resolved.resumed, models, engine, resolved.notices);
    where.file = request.from_latents.string();
  } else {
    settings = settings_of(request, defaults, engine, where);
    settings.model = fs::weakly_canonical(models.files.root).filename().string();
    if (resolved.resumed) {
      take_size_of_latents(request, *resolved.resumed, vae, settings);
      where.file = request.from_latents.string();
    } else {
      resolved.images = load_images(request);
      const InputImages& images = resolved.images;
      if (images.first || images.last)
        settings.size = size_from_image(images.first ? *images.first : *images.last, settings.area, models);
    }
  }
  where.checked(!kept, "prompt", [&] { cleaned("--prompt", settings.prompt); });
  where.checked(!kept, "negative_prompt", [&] { cleaned("--negative_prompt", settings.negative_prompt); });
  where.checked(request.size.has_value(), "size",
                [&] { check_size(settings.size, models.config().patch, vae); });
  where.checked(request.frame_num.has_value(), "frame_num",
                [&] { check_frame_num(settings.frame_num, vae.temporal_stride); });
  WAN_CHECK(settings.last_image.empty() || settings.frame_num > 1, kInvalidArgument,
            "--last_image with --frame_num 1: a still has no last frame; use --image");
  make_scheduler(settings.solver, settings.steps,
                 settings.shift);  // throws for steps and shifts that cannot be
  const Guidance guidance(settings.guide_scale, settings.boundary);

  resolved.latent = {vae.z_dim, vae.latent_frames(settings.frame_num),
                     settings.size.height / vae.spatial_stride, settings.size.width / vae.spatial_stride};
  if (resolved.resumed) {
    const SavedLatents& resumed = *resolved.resumed;
    WAN_CHECK(resumed.slots[0].shape() == resolved.latent, kBadFile,
              "{}: the latents are {}, expected {} for {} frames of {}", resumed.file.string(),
              resumed.slots[0].shape().to_string(), resolved.latent.to_string(), settings.frame_num,
              format_video_size(settings.size));
    check_kept_condition(resumed, settings, resolved.latent, models);
  }
  resolved.save_file = request.save_file;
  take_output_options(request, settings);
  resolved.latents = choose_latents_file(request, resolved.resumed);
  check_outputs(request, resolved);
  return resolved;
}

}  // namespace wan
