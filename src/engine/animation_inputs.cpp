#include "engine/animation_inputs.h"

#include "tasks/animate/source.h"
#include "tasks/task_table.h"

namespace wan {

namespace {

/// The first member of the request that is given and is of animation alone; nullptr for none.
const char* given_animation_member(const AnimationRequest& animation) {
  const std::pair<const char*, bool> members[] = {{"`src_root_path`", !animation.src_root_path.empty()},
                                                  {"`replace_flag`", animation.replace_flag},
                                                  {"`refert_num`", animation.refert_num.has_value()},
                                                  {"`official_output`", animation.official_output}};
  for (const auto& [name, given] : members)
    if (given) return name;
  return nullptr;
}

}  // namespace

void check_animation_options(const GenerationRequest& request, const TaskFacts& task) {
  const AnimationRequest& animation = request.animation;
  if (!task.takes_source) {
    const char* const given = given_animation_member(animation);
    WAN_CHECK(given == nullptr, kInvalidArgument, "{} is of animated characters; {} makes none, {} does",
              MessagePart{given}, task.name,
              task_names([](const TaskFacts& facts) { return facts.takes_source; }, "or"));
    return;
  }
  const int carried = animation.refert_num.value_or(1);
  WAN_CHECK(carried == 1 || carried == 5, kInvalidArgument, "`refert_num` {}: expected 1 or 5", carried);
  WAN_CHECK(!animation.official_output || !request.output.fps, kInvalidArgument,
            "`official_output` has 30 frames a second, and `fps` is another rate; leave one of them out");
  if (!request.from_latents.empty()) return;
  WAN_CHECK(
      !animation.src_root_path.empty(), kInvalidArgument,
      "`src_root_path` is missing: name the folder that preprocessing has written, with src_pose.mp4 in it");
}

AnimationSettings animation_settings_of(const GenerationRequest& request, int usual_clip_frames) {
  const AnimationRequest& animation = request.animation;
  AnimationSettings settings;
  settings.source = animation.src_root_path.string();
  settings.replaces = animation.replace_flag;
  settings.carried_frames = animation.refert_num.value_or(1);
  settings.official_output = animation.official_output;
  settings.clip_frames = request.frame_num.value_or(usual_clip_frames);
  const int frames = settings.clip_frames;
  constexpr int kMost = 4001;  // 1000 latent frames: positions in time that the model has
  WAN_CHECK(
      frames > settings.carried_frames && frames <= kMost && frames % 4 == 1, kInvalidArgument,
      "`frame_num` {}: a clip has 4n + 1 frames, more than the {} that it begins with, up to {}, such as 77",
      frames, settings.carried_frames, kMost);
  return settings;
}

void take_animation_source(const GenerationRequest& request, const CheckpointModels& models, bool new_run,
                           GenerationSettings& settings, std::vector<std::string>& notices) {
  AnimationSettings& animation = *settings.animation;
  const AnimationFacts facts = with_field("src_root_path", [&] {
    return check_animation_source(animation.source, animation.replaces, models.config().animate->face_size(),
                                  models.vae->geometry().spatial_stride * models.config().patch[1]);
  });
  WAN_CHECK_FIELD(
      new_run || facts.hash == animation.source_hash, kInvalidArgument, "src_root_path",
      "{} holds other files than these latents were begun with; put those there, or name their folder with "
      "`src_root_path`",
      animation.source);
  const bool relit = models.relighting.has_value();
  WAN_CHECK_FIELD(new_run || relit == animation.relit, kInvalidArgument, "use_relighting_lora",
                  "the run was begun {} `use_relighting_lora`; go on with it so",
                  MessagePart{animation.relit ? "with" : "without"});
  animation.relit = relit;
  if (request.animation.official_output) {
    animation.official_output = true;
    settings.fps = models.task().defaults().fps;
  }
  WAN_CHECK_FIELD(
      !facts.has_sound || animation.official_output || !request.output.fps ||
          *request.output.fps == facts.fps,
      kInvalidArgument, "fps",
      "`fps` {}: the sound of src_pose.mp4 goes with its {} frames a second; leave `fps` out, or choose "
      "`official_output`, which has no sound",
      *request.output.fps, facts.fps);
  if (!new_run) return;
  if (request.size && !(*request.size == facts.size))
    notices.push_back(format_message("the video is {}, as src_pose.mp4 is; `size` {} is not used",
                                     format_video_size(facts.size), format_video_size(*request.size)));
  settings.size = facts.size;
  settings.frame_num = static_cast<int>(facts.frames);
  if (!animation.official_output) settings.fps = facts.fps;
  animation.source_hash = facts.hash;
  animation.has_sound = facts.has_sound;
  animation.clips = animation.clips_of(facts.frames);
}

}  // namespace wan
