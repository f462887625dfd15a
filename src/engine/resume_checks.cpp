#include "engine/resume_checks.h"

#include <limits>

#include "base/files.h"
#include "base/untrusted_text.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

/// What is given beside from_latents must not contradict what the run was begun with.
template <typename Given, typename Kept>
void check_agrees(const char* member, const std::optional<Given>& given, const Kept& kept,
                  const std::string& shown) {
  WAN_CHECK(!given || *given == kept, kInvalidArgument,
            "{} contradicts the latents, which were begun with {}; leave it out to go on with them", member,
            shortened(shown));
}

/// The file of the sound may have another name now: its samples are compared.
void check_speech_agreement(const SpeechRequest& request, const SpeechSettings& kept) {
  check_agrees("`audio_start`", request.audio_start, kept.audio_start, fmt::format("{}", kept.audio_start));
  const double all = std::numeric_limits<double>::infinity();
  check_agrees("`audio_duration`", request.audio_duration, kept.audio_duration.value_or(all),
               kept.audio_duration ? fmt::format("{}", *kept.audio_duration) : "all of the sound");
  const std::optional<std::string> pose =
      request.pose_video.empty() ? std::nullopt : std::optional(request.pose_video.string());
  check_agrees("`pose_video`", pose, kept.pose_video,
               kept.pose_video.empty() ? "no pose video" : kept.pose_video);
  check_agrees("`pose_frames`", request.pose_frames, pose_frames_name(kept.pose_frames),
               std::string(pose_frames_name(kept.pose_frames)));
  check_agrees("`num_clip`", request.num_clip, kept.clips, std::to_string(kept.clips));
  check_agrees("`infer_frames`", request.infer_frames, kept.clip_frames, std::to_string(kept.clip_frames));
  const auto check_flag = [](const char* member, bool given, bool held) {
    check_agrees(member, given ? std::optional(true) : std::nullopt, held, held ? "it" : "no such thing");
  };
  check_flag("`start_from_ref`", request.start_from_ref, kept.start_from_ref);
  check_flag("`official_sync`", request.official_sync, kept.official_sync);
}

/// The folder may have another name now: its files are compared.
void check_animation_agreement(const AnimationRequest& request, const AnimationSettings& kept) {
  const auto check_flag = [](const char* member, bool given, bool held) {
    check_agrees(member, given ? std::optional(true) : std::nullopt, held, held ? "it" : "no such thing");
  };
  check_flag("`replace_flag`", request.replace_flag, kept.replaces);
  check_agrees("`refert_num`", request.refert_num, kept.carried_frames, std::to_string(kept.carried_frames));
}

void check_agreement(const GenerationRequest& request, const GenerationSettings& kept,
                     const EngineFacts& engine) {
  const auto prompt = request.prompt.empty() ? std::nullopt : std::optional(request.prompt);
  check_agrees("`prompt`", prompt, kept.prompt, kept.prompt);
  check_agrees("`negative_prompt`", request.negative_prompt, kept.negative_prompt, kept.negative_prompt);
  const VideoSize& size = kept.has_images() ? kept.area.value_or(kept.size) : kept.size;
  if (!kept.animation) check_agrees("`size`", request.size, size, format_video_size(size));
  const auto path = [](const fs::path& given) {
    return given.empty() ? std::nullopt : std::optional(given.string());
  };
  const auto check_image = [&](const char* member, const fs::path& given,
                               const std::optional<std::string>& file) {
    const std::string name = file.value_or("");
    check_agrees(member, path(given), name, name.empty() ? "no image" : name);
  };
  check_image("`image`", request.image, kept.image);
  check_image("`last_image`", request.last_image, kept.last_image);
  if (kept.speech) check_speech_agreement(request.speech, *kept.speech);
  if (kept.animation) check_animation_agreement(request.animation, *kept.animation);
  const int frames = kept.animation ? kept.animation->clip_frames : kept.frame_num;
  check_agrees("`frame_num`", request.frame_num, frames, std::to_string(frames));
  check_agrees("`seed`", request.seed, kept.seed, std::to_string(kept.seed));
  check_agrees("`sample_solver`", request.sample_solver, std::string(solver_name(kept.solver)),
               solver_name(kept.solver));
  check_agrees("`sample_steps`", request.sample_steps, kept.steps, std::to_string(kept.steps));
  check_agrees("`sample_shift`", request.sample_shift, kept.shift, fmt::format("{}", kept.shift));
  const auto timesteps =
      request.sample_timesteps ? std::optional(format_timesteps(*request.sample_timesteps)) : std::nullopt;
  check_agrees("`sample_timesteps`", timesteps, format_timesteps(kept.timesteps),
               kept.timesteps.empty() ? "the solver's own" : format_timesteps(kept.timesteps));
  const auto scale = request.sample_guide_scale
                         ? std::optional(format_guidance_scale(*request.sample_guide_scale))
                         : std::nullopt;
  check_agrees("`sample_guide_scale`", scale, format_guidance_scale(kept.guide_scale),
               format_guidance_scale(kept.guide_scale));
  if (!request.rng.empty())
    check_agrees("`rng`", std::optional(parse_random_spec(request.rng, engine.grid)), kept.rng,
                 format_random_spec(kept.rng));
}

/// Values that only some tasks have are there where the task has them. Throws BadFile.
void check_whole(const GenerationSettings& settings, const Task& task, const std::string& where) {
  const TaskFacts& facts = task.facts();
  const auto check = [&](bool needed, bool held, const char* key) {
    WAN_CHECK_FIELD(!needed || held, kBadFile, "from_latents",
                    "{}: the metadata has no \"{}\"; these latents were not kept by this program", where,
                    key);
  };
  check(facts.transformers.size() > 1, settings.boundary.has_value(), "boundary");
  check(facts.takes_image, settings.area.has_value(), "area");
  check(facts.takes_image, settings.image.has_value(), "image");
  check(facts.takes_last_image, settings.last_image.has_value(), "last_image");
  check(facts.needs_image, settings.has_images(), "image");
  check(facts.takes_sound, settings.speech.has_value(), "audio");
  check(facts.takes_source, settings.animation.has_value(), "src_root_path");
  WAN_CHECK_FIELD(
      facts.takes_source || !settings.animation, kBadFile, "from_latents",
      "{}: the metadata has \"src_root_path\", of which {} makes no video; these latents were not kept by "
      "this program",
      where, facts.name);
  WAN_CHECK_FIELD(
      facts.takes_sound || !settings.speech, kBadFile, "from_latents",
      "{}: the metadata has \"audio\", of which {} makes no video; these latents were not kept by "
      "this program",
      where, facts.name);
}

}  // namespace

GenerationSettings kept_settings(const GenerationRequest& request, const SavedLatents& saved,
                                 const CheckpointModels& models, const EngineFacts& engine,
                                 std::vector<std::string>& notices) {
  GenerationSettings settings = *saved.settings;
  WAN_CHECK_FIELD(settings.task == request.task, kInvalidArgument, "task", "these latents are of `task` {}",
                  shortened(settings.task));
  check_whole(settings, models.task(), saved.file.string());
  check_agreement(request, settings, engine);
  if (settings.speech && !request.speech.audio.empty())
    settings.speech->audio = request.speech.audio.string();
  if (settings.animation && !request.animation.src_root_path.empty())
    settings.animation->source = request.animation.src_root_path.string();
  WAN_CHECK_FIELD(saved.finished() || settings.precision == engine.precision, kInvalidArgument, "precision",
                  "the unfinished run was begun with `precision` {}; go on with it", settings.precision);
  WAN_CHECK_FIELD(saved.finished() || settings.vae_precision == engine.vae_precision, kInvalidArgument,
                  "vae_precision", "the unfinished run was begun with `vae_precision` {}; go on with it",
                  settings.vae_precision);
  settings.vae_precision = engine.vae_precision;  // of finished latents only the decoding is left
  // Folders get renamed, so another name need not be another model.
  const std::string& model = models.files.name;
  if (settings.model != model)
    notices.push_back(
        format_message("the latents were made with the checkpoint {}, this one is {}; another model makes "
                       "another video",
                       quote_name(settings.model), quote_name(model)));
  if (settings.lora != engine.lora)
    notices.push_back(format_message("the latents were made with {}, this run has {}",
                                     settings.lora.empty() ? "no LoRA" : quote_name(settings.lora),
                                     engine.lora.empty() ? "none" : quote_name(engine.lora)));
  return settings;
}

void take_size_of_latents(const GenerationRequest& request, const SavedLatents& saved, const VaeGeometry& vae,
                          GenerationSettings& settings) {
  const Shape& shape = saved.slots[0].shape();
  WAN_CHECK_FIELD(shape[1] >= 1 && shape[2] >= 1 && shape[3] >= 1 && shape[1] < 30000 && shape[2] < 2000 &&
                      shape[3] < 2000,
                  kBadFile, "from_latents", "{}: the latents have the shape {}", saved.file.string(),
                  shape.to_string());
  settings.size = {static_cast<int>(shape[3]) * vae.spatial_stride,
                   static_cast<int>(shape[2]) * vae.spatial_stride};
  if (settings.area) settings.area = settings.size;
  settings.frame_num = static_cast<int>(vae.frames(shape[1]));
  const auto check = [&](const char* member, const auto& given, const auto& held, const std::string& shown) {
    WAN_CHECK(!given || *given == held, kInvalidArgument,
              "{} contradicts the latents, which hold {}; leave it out to go on with them", member, shown);
  };
  check("`size`", request.size, settings.size, format_video_size(settings.size));
  check("`frame_num`", request.frame_num, settings.frame_num, fmt::format("{} frames", settings.frame_num));
}

void check_kept_condition(const SavedLatents& saved, const GenerationSettings& settings, const Shape& latent,
                          const CheckpointModels& models) {
  const bool needed = !saved.segment_finished() || models.task().facts().decodes_condition;
  if (!needed || !settings.has_condition()) return;
  const Shape expected = models.task().condition_shape(models.vae->geometry(), latent);
  WAN_CHECK_FIELD(
      !saved.condition.empty() && saved.condition.shape() == expected, kBadFile, "from_latents",
      "{}: expected a tensor \"condition\" {}, which the run's image became; these latents are damaged",
      saved.file.string(), expected.to_string());
}

}  // namespace wan
