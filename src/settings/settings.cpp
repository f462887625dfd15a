#include "settings/settings.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "media/output.h"
#include "request/attributed.h"
#include "wan/version.h"

namespace wan {

namespace {

/// Pairs under reading: every failure names the file and the key.
class Pairs {
 public:
  Pairs(const Metadata& metadata, const std::string& where) : metadata_(metadata), where_(where) {}

  bool has(const char* key) const {
    return std::any_of(metadata_.begin(), metadata_.end(),
                       [&](const auto& pair) { return pair.first == key; });
  }

  std::string text(const char* key) const {
    for (const auto& [name, value] : metadata_)
      if (name == key) return value;
    fail(ErrorCode::kBadFile, "{}: the metadata has no \"{}\"; these latents were not kept by this program",
         where_, key);
  }

  template <typename T>
  T number(const char* key) const {
    const std::string value = text(key);
    T result{};
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), result);
    WAN_CHECK(error == std::errc() && end == value.data() + value.size(), kBadFile,
              "{}: \"{}\" is {}, no number", where_, key, quote_name(value));
    return result;
  }

  /// parse(text), its error attributed to the file.
  template <typename Parse>
  auto parsed(const char* key, Parse&& parse) const {
    return attributed(where_, key, [&] { return parse(text(key)); });
  }

  /// Holds a value that was read to what a run can have.
  void expect(bool holds, const char* key, const char* expected) const {
    WAN_CHECK(holds, kBadFile, "{}: \"{}\" is {}, expected {}", where_, key, quote_name(text(key)), expected);
  }

 private:
  const Metadata& metadata_;
  const std::string& where_;
};

const char* yes_or_no(bool value) {
  return value ? "true" : "false";
}

void add_speech(const SpeechSettings& s, Metadata& metadata) {
  metadata.emplace_back("audio", s.audio);
  metadata.emplace_back("audio_start", fmt::format("{}", s.audio_start));
  if (s.audio_duration) metadata.emplace_back("audio_duration", fmt::format("{}", *s.audio_duration));
  metadata.emplace_back("audio_hash", s.audio_hash);
  if (!s.pose_video.empty()) {
    metadata.emplace_back("pose_video", s.pose_video);
    metadata.emplace_back("pose_frames", pose_frames_name(s.pose_frames));
  }
  metadata.emplace_back("num_clip", fmt::format("{}", s.clips));
  metadata.emplace_back("infer_frames", fmt::format("{}", s.clip_frames));
  metadata.emplace_back("start_from_ref", yes_or_no(s.start_from_ref));
  metadata.emplace_back("official_sync", yes_or_no(s.official_sync));
}

void add_animation(const AnimationSettings& s, Metadata& metadata) {
  metadata.emplace_back("src_root_path", s.source);
  metadata.emplace_back("source_hash", s.source_hash);
  metadata.emplace_back("replace_flag", yes_or_no(s.replaces));
  metadata.emplace_back("refert_num", fmt::format("{}", s.carried_frames));
  metadata.emplace_back("official_output", yes_or_no(s.official_output));
  metadata.emplace_back("source_sound", yes_or_no(s.has_sound));
  metadata.emplace_back("use_relighting_lora", yes_or_no(s.relit));
  metadata.emplace_back("clip_frames", fmt::format("{}", s.clip_frames));
}

bool read_flag(const Pairs& pairs, const char* key) {
  const std::string text = pairs.text(key);
  pairs.expect(text == "true" || text == "false", key, "true or false");
  return text == "true";
}

AnimationSettings read_animation_settings(const Pairs& pairs, int frames) {
  AnimationSettings s;
  s.source = pairs.text("src_root_path");
  s.source_hash = pairs.text("source_hash");
  s.replaces = read_flag(pairs, "replace_flag");
  s.carried_frames = pairs.number<int>("refert_num");
  pairs.expect(s.carried_frames == 1 || s.carried_frames == 5, "refert_num", "1 or 5");
  s.official_output = read_flag(pairs, "official_output");
  s.has_sound = read_flag(pairs, "source_sound");
  s.relit = read_flag(pairs, "use_relighting_lora");
  s.clip_frames = pairs.number<int>("clip_frames");
  pairs.expect(s.clip_frames > s.carried_frames && s.clip_frames < 100'000 && s.clip_frames % 4 == 1,
               "clip_frames", "4n + 1, more than \"refert_num\"");
  s.clips = s.clips_of(frames);
  return s;
}

SpeechSettings read_speech_settings(const Pairs& pairs) {
  SpeechSettings s;
  s.audio = pairs.text("audio");
  s.audio_start = pairs.number<double>("audio_start");
  pairs.expect(std::isfinite(s.audio_start) && s.audio_start >= 0, "audio_start", "0 or more seconds");
  if (pairs.has("audio_duration")) {
    s.audio_duration = pairs.number<double>("audio_duration");
    pairs.expect(std::isfinite(*s.audio_duration) && *s.audio_duration > 0, "audio_duration",
                 "seconds above 0");
  }
  s.audio_hash = pairs.text("audio_hash");
  if (pairs.has("pose_video")) {
    s.pose_video = pairs.text("pose_video");
    s.pose_frames =
        pairs.parsed("pose_frames", [](const std::string& text) { return parse_pose_frames(text); });
  }
  s.clips = pairs.number<int>("num_clip");
  pairs.expect(s.clips >= 1 && s.clips <= SpeechSettings::kMostClips, "num_clip", "1 to 10000");
  s.clip_frames = pairs.number<int>("infer_frames");
  pairs.expect(SpeechSettings::is_clip(s.clip_frames), "infer_frames", "a multiple of 4 up to 120");
  s.start_from_ref = read_flag(pairs, "start_from_ref");
  s.official_sync = read_flag(pairs, "official_sync");
  return s;
}

}  // namespace

int AnimationSettings::clips_of(std::int64_t frames) const {
  const std::int64_t step = clip_frames - carried_frames;
  return static_cast<int>(std::max<std::int64_t>(1, (frames - carried_frames + step - 1) / step));
}

AnimationSettings::Clip AnimationSettings::clip(int index, std::int64_t frames) const {
  const std::int64_t first = std::int64_t{index} * (clip_frames - carried_frames);
  const std::int64_t carried = index == 0 ? 0 : carried_frames;
  return {.first = first,
          .carried = carried,
          .shown = std::min(frames - first, std::int64_t{clip_frames}) - carried};
}

PoseFrames parse_pose_frames(std::string_view text) {
  if (text == "every-nth") return PoseFrames::kEveryNth;
  if (text == "time") return PoseFrames::kByTime;
  fail(ErrorCode::kInvalidArgument, "`pose_frames` {}: expected every-nth or time",
       shortened(std::string(text)));
}

std::string_view pose_frames_name(PoseFrames frames) {
  return frames == PoseFrames::kEveryNth ? "every-nth" : "time";
}

Scheduler scheduler_of(const GenerationSettings& settings) {
  return settings.timesteps.empty() ? make_scheduler(settings.solver, settings.steps, settings.shift)
                                    : make_scheduler(settings.solver, settings.timesteps, settings.shift);
}

Metadata to_metadata(const GenerationSettings& s) {
  Metadata metadata = {{"prompt", s.prompt},
                       {"negative_prompt", s.negative_prompt},
                       {"seed", fmt::format("{}", s.seed)},
                       {"task", s.task},
                       {"model", s.model},
                       {"size", format_video_size(s.size)},
                       {"frame_num", fmt::format("{}", s.frame_num)},
                       {"fps", fmt::format("{}", s.fps)},
                       {"sample_solver", solver_name(s.solver)},
                       {"sample_steps", fmt::format("{}", s.steps)},
                       {"sample_shift", fmt::format("{}", s.shift)},
                       {"sample_guide_scale", format_guidance_scale(s.guide_scale)},
                       {"rng", format_random_spec(s.rng)},
                       {"precision", s.precision},
                       {"vae_precision", s.vae_precision}};
  if (s.encoding.codec != VideoCodec::kH264)
    metadata.emplace_back("codec", video_codec_name(s.encoding.codec));
  if (s.encoding.crf) metadata.emplace_back("crf", fmt::format("{}", *s.encoding.crf));
  if (!s.timesteps.empty()) metadata.emplace_back("sample_timesteps", format_timesteps(s.timesteps));
  if (!s.lora.empty()) metadata.emplace_back("lora", s.lora);
  if (s.boundary) metadata.emplace_back("boundary", fmt::format("{}", *s.boundary));
  if (s.area) metadata.emplace_back("area", format_video_size(*s.area));
  if (s.image) metadata.emplace_back("image", *s.image);
  if (s.last_image) metadata.emplace_back("last_image", *s.last_image);
  if (s.speech) add_speech(*s.speech, metadata);
  if (s.animation) add_animation(*s.animation, metadata);
  metadata.emplace_back("version", std::string("wan.cpp ") + version());
  return metadata;
}

bool is_frame_rate(double fps) {
  return fps >= 0.01 && fps <= 1000;
}

void take_output_options(const GenerationRequest& request, GenerationSettings& settings) {
  const OutputOptions& output = request.output;
  WAN_CHECK(!output.fps || is_frame_rate(*output.fps), kInvalidArgument,
            "`fps` {}: expected 0.01 to 1000 frames a second", output.fps.value_or(0));
  if (output.fps) settings.fps = *output.fps;
  if (output.codec && parse_video_codec(*output.codec) != settings.encoding.codec)
    settings.encoding = {parse_video_codec(*output.codec),
                         {}};  // a kept crf is of the codec that it was kept with
  if (output.crf) settings.encoding.crf = output.crf;
  check_encoding(settings.encoding);
  if (request.save_file.empty() || classify_output(request.save_file, settings.frame_num) == OutputKind::kMp4)
    return;
  WAN_CHECK(!output.codec && !output.crf, kInvalidArgument,
            "{} is of .mp4, and {} is lossless; leave it out, or name the video .mp4",
            output.codec ? "`codec`" : "`crf`", request.save_file.string());
  settings.encoding = {};
}

bool holds_settings(const Metadata& metadata) {
  constexpr std::array kKeys = {"prompt",
                                "negative_prompt",
                                "seed",
                                "task",
                                "model",
                                "size",
                                "frame_num",
                                "fps",
                                "sample_solver",
                                "sample_steps",
                                "sample_shift",
                                "sample_guide_scale",
                                "sample_timesteps",
                                "lora",
                                "rng",
                                "precision",
                                "vae_precision",
                                "boundary",
                                "area",
                                "image",
                                "last_image",
                                "audio",
                                "audio_start",
                                "audio_duration",
                                "audio_hash",
                                "pose_video",
                                "pose_frames",
                                "num_clip",
                                "infer_frames",
                                "start_from_ref",
                                "official_sync",
                                "src_root_path",
                                "source_hash",
                                "replace_flag",
                                "refert_num",
                                "official_output",
                                "source_sound",
                                "use_relighting_lora",
                                "clip_frames"};
  return std::any_of(metadata.begin(), metadata.end(), [&](const auto& pair) {
    return std::find(kKeys.begin(), kKeys.end(), pair.first) != kKeys.end();
  });
}

GenerationSettings settings_from_metadata(const Metadata& metadata, const std::string& where) {
  const Pairs pairs(metadata, where);
  GenerationSettings s;
  s.prompt = pairs.text("prompt");
  s.negative_prompt = pairs.text("negative_prompt");
  s.seed = pairs.number<std::int64_t>("seed");
  s.task = pairs.text("task");
  s.model = pairs.text("model");
  s.size = pairs.parsed("size", [](const std::string& text) { return parse_video_size(text); });
  s.frame_num = pairs.number<int>("frame_num");
  s.fps = pairs.number<double>("fps");
  s.solver = pairs.parsed("sample_solver", [](const std::string& text) { return parse_solver(text); });
  if (pairs.has("codec"))
    s.encoding.codec = pairs.parsed("codec", [](const std::string& text) { return parse_video_codec(text); });
  if (pairs.has("crf")) s.encoding.crf = pairs.number<int>("crf");
  attributed(where, "crf", [&] { check_encoding(s.encoding); });
  s.steps = pairs.number<int>("sample_steps");
  s.shift = pairs.number<double>("sample_shift");
  s.guide_scale =
      pairs.parsed("sample_guide_scale", [](const std::string& text) { return parse_guidance_scale(text); });
  s.rng = pairs.parsed("rng", [](const std::string& text) { return parse_random_spec(text); });
  s.precision = pairs.text("precision");
  // Latents from before there was a choice are kept: they meant fp32.
  if (pairs.has("vae_precision")) s.vae_precision = pairs.text("vae_precision");
  if (pairs.has("sample_timesteps")) {
    s.timesteps =
        pairs.parsed("sample_timesteps", [](const std::string& text) { return parse_timesteps(text); });
    pairs.expect(s.timesteps.size() == static_cast<std::size_t>(s.steps), "sample_timesteps",
                 "as many as steps");
  }
  pairs.expect(s.seed >= 0, "seed", "0 or more");
  pairs.expect(!s.model.empty(), "model", "the name of a checkpoint's folder");
  pairs.expect(s.frame_num >= 1, "frame_num", "1 or more");
  pairs.expect(is_frame_rate(s.fps), "fps", "0.01 to 1000");
  pairs.expect(s.steps >= 1 && s.steps <= Scheduler::kTrainTimesteps, "sample_steps", "1 to 1000");
  pairs.expect(std::isfinite(s.shift) && s.shift > 0.0, "sample_shift", "a number above 0");
  pairs.expect(s.precision == "fp32" || s.precision == "bf16", "precision", "fp32 or bf16");
  pairs.expect(s.vae_precision == "fp32" || s.vae_precision == "bf16", "vae_precision", "fp32 or bf16");
  if (pairs.has("lora")) s.lora = pairs.text("lora");
  if (pairs.has("boundary")) {
    s.boundary = pairs.number<double>("boundary");
    pairs.expect(*s.boundary > 0.0 && *s.boundary <= 1.0, "boundary", "a number above 0 and up to 1");
  }
  if (pairs.has("area"))
    s.area = pairs.parsed("area", [](const std::string& text) { return parse_video_size(text); });
  if (pairs.has("image")) s.image = pairs.text("image");
  if (pairs.has("last_image")) s.last_image = pairs.text("last_image");
  if (pairs.has("audio")) s.speech = read_speech_settings(pairs);
  if (pairs.has("src_root_path")) s.animation = read_animation_settings(pairs, s.frame_num);
  return s;
}

}  // namespace wan
