#include "engine/settings_resolver.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <utility>

#include "base/atomic_file.h"
#include "base/files.h"
#include "base/same_file.h"
#include "base/untrusted_text.h"
#include "cleaning/prompt_cleaning.h"
#include "dump/dump_folder.h"
#include "engine/animation_inputs.h"
#include "engine/kept_places.h"
#include "engine/resume_checks.h"
#include "engine/speech_inputs.h"
#include "json/strict_json.h"
#include "media/image_size.h"
#include "media/load_image.h"
#include "media/output.h"
#include "models/vae21/latent_statistics.h"
#include "models/vae22/latent_statistics.h"
#include "models/wan/s2v/speech_conditioning.h"
#include "request/attributed.h"
#include "tasks/animate/source.h"
#include "tasks/presets.h"
#include "tasks/task_table.h"

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

/// A size made of multiples of the units: an official one where it is less than a unit away, otherwise the nearest.
VideoSize size_to_offer(const VideoSize& asked, int unit_x, int unit_y) {
  constexpr VideoSize kOfficial[] = {{1280, 720}, {720, 1280}, {832, 480},
                                     {480, 832},  {1280, 704}, {704, 1280}};
  for (const VideoSize& size : kOfficial)
    if (size.width % unit_x == 0 && size.height % unit_y == 0 &&
        std::abs(size.width - asked.width) < unit_x && std::abs(size.height - asked.height) < unit_y)
      return size;
  return {nearest_multiple(asked.width, unit_x), nearest_multiple(asked.height, unit_y)};
}

/// Where values come from that the request does not give: errors must name that file and the member that named it.
struct ValueSource {
  std::string file;
  const char* field;

  template <typename Check>
  decltype(auto) checked(bool given, const char* key, Check&& check) const {
    if (given) return check();
    return with_field(field, [&] { return attributed(file, key, check); });
  }
};

void check_size(const VideoSize& size, const PatchSize& patch, const VaeGeometry& vae) {
  const int unit_x = vae.spatial_stride * patch[2];
  const int unit_y = vae.spatial_stride * patch[1];
  constexpr int kMost = 8192;  // of a side; keeps every product of sizes far from overflow
  const auto possible = [](int side, int unit) { return side > 0 && side <= kMost && side % unit == 0; };
  WAN_CHECK(possible(size.width, unit_x) && possible(size.height, unit_y), kInvalidArgument,
            "`size` {}: this model needs multiples of {} up to {}; the nearest is {}",
            format_video_size(size), unit_x, kMost,
            format_video_size(size_to_offer(
                {std::clamp(size.width, 0, kMost), std::clamp(size.height, 0, kMost)}, unit_x, unit_y)));
}

/// What an image's size follows from.
void check_area(const VideoSize& area) {
  WAN_CHECK(area.width > 0 && area.height > 0, kInvalidArgument,
            "`size` {}: expected a width and a height above 0, such as 832*480", format_video_size(area));
}

void check_frame_num(int frames, int stride) {
  const int most = 99'999 / stride * stride + 1;
  WAN_CHECK(frames <= most, kInvalidArgument, "`frame_num` {}: expected at most {} frames", frames, most);
  const int nearest = (std::max(frames, 1) - 1 + stride / 2) / stride * stride + 1;
  WAN_CHECK(frames >= 1 && (frames - 1) % stride == 0, kInvalidArgument,
            "`frame_num` {}: expected {}n + 1 frames; the nearest is {}", frames, stride, nearest);
}

/// PyTorch's generator of the device that the official code would run on.
RandomSpec random_spec_of(const GenerationRequest& request, const EngineFacts& engine) {
  const bool on_cpu = engine.device.kind == DeviceKind::kCpu;
  return parse_random_spec(request.rng.empty() ? (on_cpu ? "torch-cpu" : "torch-cuda") : request.rng,
                           engine.grid);
}

GenerationSettings settings_of(const GenerationRequest& request, const ModelDefaults& defaults,
                               const TaskFacts& task, const EngineFacts& engine, const ValueSource& where) {
  GenerationSettings s;
  s.task = request.task;
  s.prompt = request.prompt.empty() ? std::string(task.usual_prompt) : request.prompt;
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
  s.timesteps = request.sample_timesteps.value_or(std::vector<double>());
  s.guide_scale = request.sample_guide_scale.value_or(defaults.sample_guide_scale);
  const std::optional<double> boundary = preset_boundary(request);
  s.boundary = boundary ? boundary : defaults.boundary;
  s.rng = random_spec_of(request, engine);
  s.precision = engine.precision;
  s.vae_precision = engine.vae_precision;
  if (task.takes_image) {
    s.area = s.size;
    s.image = request.image.string();
  }
  if (task.takes_last_image) s.last_image = request.last_image.string();
  if (task.takes_sound)
    s.speech = where.checked(request.speech.infer_frames.has_value(), "frame_num",
                             [&] { return speech_settings_of(request, defaults.frame_num); });
  if (task.takes_source)
    s.animation = where.checked(request.frame_num.has_value(), "frame_num",
                                [&] { return animation_settings_of(request, defaults.frame_num); });
  return s;
}

std::string cleaned(const char* member, const std::string& text) {
  try {
    return clean_prompt(text);
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", member, error.what());
  }
}

/// Images are given where the task takes them, and only there.
void check_image_options(const GenerationRequest& request, const TaskFacts& task) {
  const auto takers = [](bool TaskFacts::*takes, std::string_view last) {
    return task_names([takes](const TaskFacts& facts) { return facts.*takes; }, last);
  };
  WAN_CHECK(request.image.empty() || task.takes_image, kInvalidArgument,
            "`image`: {} makes its video from `prompt` alone; {} take an image", task.name,
            takers(&TaskFacts::takes_image, "and"));
  WAN_CHECK(request.last_image.empty() || task.takes_last_image, kInvalidArgument,
            "`last_image`: {} takes none; {} does", task.name, takers(&TaskFacts::takes_last_image, "and"));
  if (!request.from_latents.empty()) return;
  const bool given = !request.image.empty() || !request.last_image.empty();
  WAN_CHECK(given || !task.needs_image, kInvalidArgument, "`image` is missing: name the picture {}",
            task.image_role);
  WAN_CHECK(given || !task.usual_prompt.empty() || !cleaned("`prompt`", request.prompt).empty(),
            kInvalidArgument, "`prompt` is empty: say what the video shows");
}

InputImages load_images(const GenerationRequest& request) {
  InputImages images;
  if (!request.image.empty()) images.first = with_field("image", [&] { return load_image(request.image); });
  if (!request.last_image.empty())
    images.last = with_field("last_image", [&] { return load_image(request.last_image); });
  return images;
}

/// The picture itself is wanted again where it is among the frames before a clip that is made or decoded again: those before the
/// first one, and of short clips before later ones. The condition of the clip that a run goes on in holds them.
InputImages images_of_history(const GenerationSettings& settings, int segment) {
  const bool all_held = segment == 0 && settings.speech->clip_frames >= kMotionFrames;
  if (!settings.speech->start_from_ref || all_held) return {};
  InputImages images;
  images.first = with_field("image", [&] { return load_image(*settings.image); });
  return images;
}

std::vector<NamedFile> named(const char* name, const std::vector<fs::path>& paths) {
  std::vector<NamedFile> files;
  for (const fs::path& path : paths)
    if (!path.empty()) files.push_back({name, path});
  return files;
}

/// The files that hold the checkpoint's tensors.
std::vector<NamedFile> weight_files(const CheckpointModels& models) {
  std::set<fs::path> files;
  for (const Checkpoint* checkpoint : models.checkpoints())
    for (const TensorEntry& entry : checkpoint->entries()) files.insert(entry.file);
  return named("the checkpoint's", {files.begin(), files.end()});
}

void check_dump_is_writable(const fs::path& given) {
  const fs::path folder = given.has_filename() ? given : given.parent_path();  // "dump/"
  const bool is_there = file_exists(folder);
  WAN_CHECK(is_there ? is_folder(folder) : followed(folder) == folder, kInvalidArgument,
            "`dump_dir` {}: it is {}; name a folder", given.string(),
            is_there ? "a file" : "a link to nothing");
  const fs::path taps = folder / "taps";
  WAN_CHECK(!file_exists(taps) || is_folder(taps), kInvalidArgument,
            "`dump_dir` {}: what it holds under the name taps is no folder; name another folder",
            given.string());
  check_dump_folder(folder);
  check_writable_target(is_there ? folder / "manifest.json" : folder);
}

void check_dump(const fs::path& folder) {
  try {
    check_dump_is_writable(folder);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kBadFile) throw;
    fail(ErrorCode::kInvalidArgument, "`dump_dir` {}: {}", folder.string(), error.what());
  }
}

void check_outputs(const GenerationRequest& request, const ResolvedRequest& resolved,
                   const CheckpointModels& models) {
  WAN_CHECK(!request.save_file.empty(), kInvalidArgument,
            "`save_file` is missing: name the video, such as video.mp4");
  with_field("save_file", [&] {
    check_output_writable(request.save_file, resolved.settings.frame_num, resolved.settings.encoding,
                          sound_of(resolved.settings));
  });
  WAN_CHECK(request.save_latents.empty() || request.save_latents.extension() == ".safetensors",
            kInvalidArgument, "`save_latents` {}: expected a name that ends in .safetensors",
            request.save_latents.string());
  with_field(request.save_latents.empty() ? "save_file" : "save_latents", [&] {
    check_writable_target(resolved.latents.path);
    check_writable_target(resolved.latents.of_state());
  });
  WAN_CHECK(!request.dump_taps || !request.dump_dir.empty(), kInvalidArgument,
            "`dump_taps` needs `dump_dir`, the folder that the layer outputs go to");
  std::vector<NamedFile> written =
      named("`save_file`", output_files(request.save_file, resolved.settings.frame_num));
  const auto add = [](std::vector<NamedFile>& files, const std::vector<NamedFile>& more) {
    files.insert(files.end(), more.begin(), more.end());
  };
  if (!request.dump_dir.empty()) {
    with_field("dump_dir", [&] { check_dump(request.dump_dir); });
    add(written, named("`dump_dir`", {request.dump_dir, request.dump_dir / "manifest.json"}));
  }
  // Latents may go on in their own file; the video and the dump may not take it.
  check_files_apart(written, named("`from_latents`", {request.from_latents}));
  const char* const latents = request.save_latents.empty() ? "the latents' file" : "`save_latents`";
  add(written, named(latents, latents_files(resolved.latents)));
  std::vector<NamedFile> read = weight_files(models);
  add(read, named("`lora`", models.lora_files));
  add(read, named("`image`", {request.image}));
  add(read, named("`last_image`", {request.last_image}));
  if (const auto& speech = resolved.settings.speech) {
    add(read, named("`audio`", {speech->audio}));
    add(read, named("`pose_video`", {speech->pose_video}));
  }
  if (const auto& animation = resolved.settings.animation)
    add(read, named("`src_root_path`'s", AnimationFiles(animation->source, animation->replaces).all()));
  check_files_apart(written, read);
}

/// What lies beside the official files and is not read.
void tell_ignored_files(const CheckpointModels& models, std::vector<std::string>& notices) {
  for (const Checkpoint* checkpoint : models.checkpoints())
    for (const std::string& name : checkpoint->ignored_files())
      notices.push_back(
          format_message("{} is ignored beside {}", quote_name(name), checkpoint->file().string()));
}

/// What costs quality without a sign of it: 8 bits where most files keep more, and fp8 whose scales may have been lost.
void tell_coarse_weights(const CheckpointModels& models, std::vector<std::string>& notices) {
  constexpr std::string_view kKept[] = {"head", "time_embedding", "time_projection"};
  for (const Checkpoint& checkpoint : models.transformer_checkpoints) {
    std::set<std::string_view> coarse;
    bool unscaled = false;
    for (const TensorEntry& entry : checkpoint.entries()) {
      if (!is_f8(entry.dtype) && entry.dtype != DType::kI8) continue;
      unscaled = unscaled || (is_f8(entry.dtype) && !entry.scales);
      const std::string_view layer = std::string_view(entry.name).substr(0, entry.name.find('.'));
      if (std::ranges::find(kKept, layer) != std::end(kKept)) coarse.insert(layer);
    }
    const std::string file = checkpoint.file().string();
    if (!coarse.empty())
      notices.push_back(
          format_message("{} holds {} in 8 bits; files that keep these in 16 make better videos", file,
                         fmt::format("{}", fmt::join(coarse, ", "))));
    if (unscaled)
      notices.push_back(format_message("{} holds fp8 without scales, which are taken to be 1", file));
  }
}

/// What diffusers wrote about a VAE's latents beside it, where it is not what this program takes them to be.
void tell_other_latents(const CheckpointModels& models, std::vector<std::string>& notices) {
  constexpr int kDepth = 8;
  constexpr double kSame = 5e-5;  // half a unit of the last published digit
  const fs::path& vae = models.files.vae;
  std::error_code error;
  const fs::path config = (fs::is_directory(vae, error) ? vae : folder_of(vae)) / "config.json";
  if (!file_exists(config)) return;
  const nlohmann::json json = read_json_file(config, kDepth);
  const std::int64_t z_dim = models.vae->geometry().z_dim;
  const bool is_vae22 = models.files.task->facts().vae == VaeKind::kVae22;
  const LatentStatistics own = is_vae22 ? vae22_latent_statistics(z_dim) : vae21_latent_statistics(z_dim);
  for (const auto& [name, values] : {std::pair("latents_mean", own.mean), {"latents_std", own.deviation}}) {
    if (!json.is_object() || !json.contains(name)) continue;
    const nlohmann::json& theirs = json[name];
    bool same = theirs.is_array() && theirs.size() == values.size();
    for (std::size_t i = 0; same && i < values.size(); ++i)
      same = theirs[i].is_number() && std::abs(theirs[i].get<double>() - values[i]) < kSame;
    if (!same)
      notices.push_back(format_message(
          "{} has other \"{}\" than the VAE of {}, whose latents are taken: if the transformer "
          "was trained on these, the video will be wrong",
          config.string(), name, models.files.task->facts().checkpoint));
  }
}

/// Models that were distilled to few steps look like their base by shape; their files' names tell.
void tell_distilled_files(const CheckpointModels& models, const GenerationSettings& settings,
                          std::vector<std::string>& notices) {
  std::vector<fs::path> files = models.lora_files;
  for (const fs::path& file : models.files.distillable()) files.push_back(file);
  for (const fs::path& file : files) {
    const int steps = steps_in_name(file.filename().string());
    if (steps == 0 || settings.steps == steps) continue;
    notices.push_back(
        format_message("{} is made for {} steps, by its name; this run takes {}, with guidance {}",
                       quote_name(file.filename().string()), steps, settings.steps,
                       format_guidance_scale(settings.guide_scale)));
    if (const auto preset = preset_for(settings.task, steps))
      notices.back() += format_message(": `preset` {} has its settings", *preset);
    return;
  }
}

}  // namespace

ResolvedRequest resolve_request(const GenerationRequest& given, const CheckpointModels& models,
                                const EngineFacts& engine) {
  const GenerationRequest request = with_preset(given);
  const ModelDefaults defaults = load_model_defaults(request.task, models.files.root);
  const VaeGeometry vae = models.vae->geometry();
  const Task& task = models.task();
  WAN_CHECK_FIELD(task.facts().name == request.task, kInvalidArgument, "task", "{} holds {}; use `task` {}",
                  models.files.place(), task.facts().checkpoint, task.facts().name);
  check_image_options(request, task.facts());
  check_speech_options(request, task.facts());
  check_animation_options(request, task.facts());
  ResolvedRequest resolved;
  tell_ignored_files(models, resolved.notices);
  tell_coarse_weights(models, resolved.notices);
  tell_other_latents(models, resolved.notices);
  for (const std::string& notice : models.lora_notices) resolved.notices.push_back(literal_text(notice));
  GenerationSettings& settings = resolved.settings;
  ValueSource where{(models.files.root / "generation_config.json").string(), "ckpt_dir"};
  if (!request.from_latents.empty())
    resolved.resumed = with_field("from_latents", [&] { return load_kept_latents(request.from_latents); });
  const bool kept = resolved.resumed && resolved.resumed->settings;
  if (kept) {
    settings = kept_settings(request, *resolved.resumed, models, engine, resolved.notices);
    if (settings.speech) resolved.inputs.images = images_of_history(settings, resolved.resumed->segment);
    where = {request.from_latents.string(), "from_latents"};
  } else {
    settings = settings_of(request, defaults, task.facts(), engine, where);
    settings.model = models.files.name;
    settings.lora = engine.lora;
    WAN_CHECK_FIELD(!resolved.resumed || !(task.facts().decodes_condition || task.facts().takes_source),
                    kInvalidArgument, "from_latents",
                    "{}: these latents were not kept by this program; {} goes on with its own alone",
                    request.from_latents.string(), task.facts().name);
    if (resolved.resumed) {
      take_size_of_latents(request, *resolved.resumed, vae, settings);
      where = {request.from_latents.string(), "from_latents"};
    } else {
      resolved.inputs.images = load_images(request);
      const InputImages& images = resolved.inputs.images;
      if (images.first || images.last) {
        check_area(settings.size);
        settings.size = task.size_from_image(images.first ? *images.first : *images.last, settings.size, vae,
                                             models.config().patch);
        std::string told = task.told_of_image(images.first ? *images.first : *images.last, settings.size);
        if (!told.empty()) resolved.notices.push_back(std::move(told));
      }
    }
  }
  if (settings.speech) {
    SpeechSettings& speech = *settings.speech;
    resolved.inputs.speech = read_speech_of(request, models, /*new_run=*/!kept, settings.fps, speech);
    settings.frame_num = speech.frames();
    WAN_CHECK(settings.seed <= std::numeric_limits<std::int64_t>::max() - (speech.clips - 1),
              kInvalidArgument,
              "`seed` {}: each of the {} clips takes the next one, and so many do not follow it; choose a "
              "smaller one",
              settings.seed, speech.clips);
  }
  if (settings.animation)
    take_animation_source(request, models, /*new_run=*/!kept, settings, resolved.notices);
  where.checked(!kept, "prompt", [&] { cleaned("`prompt`", settings.prompt); });
  where.checked(!kept, "negative_prompt", [&] { cleaned("`negative_prompt`", settings.negative_prompt); });
  if (!settings.animation)  // whose source has told both
    where.checked(request.size.has_value(), "size",
                  [&] { check_size(settings.size, models.config().patch, vae); });
  if (!settings.speech && !settings.animation)
    where.checked(request.frame_num.has_value(), "frame_num",
                  [&] { check_frame_num(settings.frame_num, vae.temporal_stride); });
  WAN_CHECK(!settings.last_image || settings.last_image->empty() || settings.frame_num > 1, kInvalidArgument,
            "`last_image` with `frame_num` 1: a still has no last frame; use `image`");
  // Throws for steps and shifts that cannot be.
  const Scheduler scheduler = scheduler_of(settings);
  const Guidance guidance(settings.guide_scale, settings.boundary);
  tell_distilled_files(models, settings, resolved.notices);

  const std::int64_t latent_frames = task.segment_latents(vae, settings.segment_frames());
  resolved.latent = {vae.z_dim, latent_frames, settings.size.height / vae.spatial_stride,
                     settings.size.width / vae.spatial_stride};
  if (resolved.resumed) {
    const SavedLatents& resumed = *resolved.resumed;
    WAN_CHECK_FIELD(resumed.slots[0].shape() == resolved.latent, kBadFile, "from_latents",
                    "{}: the latents are {}, expected {} for {} frames of {}", resumed.file.string(),
                    resumed.slots[0].shape().to_string(), resolved.latent.to_string(), settings.frame_num,
                    format_video_size(settings.size));
    check_kept_condition(resumed, settings, resolved.latent, models);
  }
  resolved.save_file = request.save_file;
  with_field("save_file", [&] { take_output_options(request, settings); });
  check_keeping(request);
  resolved.latents = choose_latents_file(request, resolved.resumed, resolved.notices);
  check_outputs(request, resolved, models);
  const bool has_condition = settings.has_condition();
  tell_missing_room(
      resolved.latents,
      state_bytes(scheduler.slots(), resolved.latent,
                  has_condition ? task.condition_shape(vae, resolved.latent) : Shape{}, settings.segments()),
      request.keep_every.count() > 0, resolved.notices);
  return resolved;
}

}  // namespace wan
