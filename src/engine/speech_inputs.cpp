#include "engine/speech_inputs.h"

#include <algorithm>
#include <cmath>

#include "base/files.h"
#include "base/fnv_hash.h"
#include "media/audio.h"
#include "media/video_reader.h"
#include "models/wav2vec2/speech_features.h"
#include "tasks/animate/source.h"
#include "tasks/task_table.h"

namespace wan {

namespace {

/// The first member of the request that is given and is of speech alone; nullptr for none.
const char* given_speech_member(const SpeechRequest& speech) {
  const std::pair<const char*, bool> members[] = {{"`audio`", !speech.audio.empty()},
                                                  {"`audio_start`", speech.audio_start.has_value()},
                                                  {"`audio_duration`", speech.audio_duration.has_value()},
                                                  {"`pose_video`", !speech.pose_video.empty()},
                                                  {"`pose_frames`", speech.pose_frames.has_value()},
                                                  {"`num_clip`", speech.num_clip.has_value()},
                                                  {"`infer_frames`", speech.infer_frames.has_value()},
                                                  {"`start_from_ref`", speech.start_from_ref},
                                                  {"`official_sync`", speech.official_sync}};
  for (const auto& [name, given] : members)
    if (given) return name;
  return nullptr;
}

void check_clip_frames(int frames) {
  constexpr int kStep = SpeechSettings::kClipStep;
  constexpr int kMost = SpeechSettings::kMostClipFrames;
  const int nearest = std::clamp(frames, kStep, kMost + kStep / 2) + kStep / 2;
  WAN_CHECK(SpeechSettings::is_clip(frames), kInvalidArgument,
            "`infer_frames` {}: expected a multiple of {} up to {}; the nearest is {}", frames, kStep, kMost,
            std::min(nearest / kStep * kStep, kMost));
}

void check_numbers(const SpeechRequest& speech) {
  WAN_CHECK(!speech.audio_start || (std::isfinite(*speech.audio_start) && *speech.audio_start >= 0),
            kInvalidArgument, "`audio_start` {}: expected 0 seconds or more", speech.audio_start.value_or(0));
  WAN_CHECK(!speech.audio_duration || (std::isfinite(*speech.audio_duration) && *speech.audio_duration > 0),
            kInvalidArgument, "`audio_duration` {}: expected seconds above 0",
            speech.audio_duration.value_or(0));
  constexpr int kMost = SpeechSettings::kMostClips;
  WAN_CHECK(speech.num_clip.value_or(1) >= 1 && speech.num_clip.value_or(1) <= kMost, kInvalidArgument,
            "`num_clip` {}: expected 1 to {}", *speech.num_clip, kMost);
  if (speech.infer_frames) check_clip_frames(*speech.infer_frames);
  WAN_CHECK(!speech.pose_frames || !speech.pose_video.empty(), kInvalidArgument,
            "`pose_frames` says which frames of `pose_video` are taken, which is missing");
}

}  // namespace

void check_speech_options(const GenerationRequest& request, const TaskFacts& task) {
  const SpeechRequest& speech = request.speech;
  if (!task.takes_sound) {
    const char* const given = given_speech_member(speech);
    WAN_CHECK(given == nullptr, kInvalidArgument, "{} is of videos from a sound; {} makes none, {} does",
              MessagePart{given}, task.name,
              task_names([](const TaskFacts& facts) { return facts.takes_sound; }, "or"));
    return;
  }
  WAN_CHECK(
      !request.frame_num, kInvalidArgument,
      "`frame_num`: a video from a sound is as long as its sound; `num_clip` or `audio_duration` make it "
      "shorter");
  WAN_CHECK(!request.output.fps, kInvalidArgument,
            "`fps`: a video from a sound has the rate of the model, at which picture and sound go together");
  check_numbers(speech);
  if (!request.from_latents.empty()) return;
  WAN_CHECK(!speech.audio.empty(), kInvalidArgument,
            "`audio` is missing: name the file with what is said, such as speech.wav");
}

SpeechSettings speech_settings_of(const GenerationRequest& request, int usual_clip_frames) {
  const SpeechRequest& speech = request.speech;
  SpeechSettings settings;
  settings.audio = speech.audio.string();
  settings.audio_start = speech.audio_start.value_or(0);
  settings.audio_duration = speech.audio_duration;
  settings.pose_video = speech.pose_video.string();
  settings.pose_frames = parse_pose_frames(speech.pose_frames.value_or("every-nth"));
  settings.clip_frames = speech.infer_frames.value_or(usual_clip_frames);
  check_clip_frames(settings.clip_frames);
  settings.start_from_ref = speech.start_from_ref;
  settings.official_sync = speech.official_sync;
  return settings;
}

std::vector<float> read_speech_of(const GenerationRequest& request, const CheckpointModels& models,
                                  bool new_run, double fps, SpeechSettings& settings) {
  std::vector<float> samples = with_field(
      "audio", [&] { return read_speech(settings.audio, settings.audio_start, settings.audio_duration); });
  const std::string hash = fmt::format("{:016x}", fnv_hash(std::as_bytes(std::span(samples))));
  WAN_CHECK_FIELD(new_run || hash == settings.audio_hash, kInvalidArgument, "audio",
                  "{} holds another sound than these latents were begun with; put that one there, or name it "
                  "with `audio`",
                  settings.audio);
  if (!settings.pose_video.empty()) with_field("pose_video", [&] { open_video(settings.pose_video); });
  if (!new_run) return samples;
  settings.audio_hash = hash;
  const Wav2Vec2Config& encoder = *models.audio_encoder;
  const std::int64_t states = encoder.states(static_cast<std::int64_t>(samples.size()));
  const std::int64_t clips = speech_clip_count(speech_feature_count(states), fps, settings.clip_frames);
  WAN_CHECK_FIELD(
      states >= 1, kInvalidArgument, "audio",
      "{}: {} samples are left of the sound at 16 kHz, the audio encoder needs {}; take more of it",
      settings.audio, samples.size(), encoder.receptive_field());
  settings.clips = static_cast<int>(
      std::min<std::int64_t>(clips, request.speech.num_clip.value_or(SpeechSettings::kMostClips)));
  return samples;
}

std::optional<SoundTrack> sound_of(const GenerationSettings& settings) {
  if (const std::optional<SpeechSettings>& speech = settings.speech)
    return SoundTrack{
        .file = speech->audio, .start = speech->audio_start, .duration = speech->audio_duration};
  if (settings.animation && settings.animation->has_sound && !settings.animation->official_output)
    return SoundTrack{.file = AnimationFiles(settings.animation->source, false).pose,
                      .duration = std::nullopt,
                      .ends_video = false};
  return std::nullopt;
}

}  // namespace wan
