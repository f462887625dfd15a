// The sound's place in a finished file of speech to video: what a frame hears against when it is shown.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/engine_internals.h"
#include "media/npy.h"
#include "support/generation_backends.h"
#include "support/golden.h"
#include "support/temp_folder.h"
#include "support/video_reader.h"
#include "support/wav_file.h"
#include "wan/engine.h"

namespace wan::test {
namespace {

constexpr int kClipFrames = 8;
constexpr int kHearing = 12;                // the frame that hears the click
constexpr double kHeard = kHearing / 16.0;  // seconds after the sound's start

/// The luma [H, W] of one of a clip's own frames, which are the last that the VAE gave for it.
std::vector<double> luma_of(const std::filesystem::path& decoded, int frame) {
  const NpyFile file(decoded);
  const NpyView& view = file.view();  // f32 [3, T, H, W] in [-1, 1] or a little outside
  const auto frames = static_cast<std::size_t>(view.shape[1]);
  const auto size = static_cast<std::size_t>(view.shape[2] * view.shape[3]);
  const auto* values = reinterpret_cast<const float*>(view.data.data());
  const float* plane = values + (frames - kClipFrames + static_cast<std::size_t>(frame)) * size;
  std::vector<double> luma(size);
  const double weights[] = {0.2126, 0.7152, 0.0722};
  for (std::size_t channel = 0; channel < 3; ++channel)
    for (std::size_t i = 0; i < size; ++i)
      luma[i] += weights[channel] * 109.5 * (1 + std::clamp(plane[channel * frames * size + i], -1.0f, 1.0f));
  return luma;
}

/// When a file shows the frame that is most like this one.
double shown(const DecodedVideo& video, const std::vector<double>& luma) {
  double least = 1e30, time = -1;
  for (std::size_t i = 0; i < video.yuv.size(); ++i) {
    double error = 0;
    for (std::size_t at = 0; at < luma.size(); ++at)
      error += std::pow(video.yuv[i][0][at] - 16.0 - luma[at], 2);
    if (error < least) {
      least = error;
      time = video.times[i];
    }
  }
  EXPECT_LT(std::sqrt(least / static_cast<double>(luma.size())), 8) << "no frame is like it";
  return time;
}

double click_time(const DecodedSound& sound) {
  for (std::size_t i = 0; i < sound.samples.size(); ++i)
    if (std::abs(sound.samples[i]) > 0.3f) return sound.begins + static_cast<double>(i) / sound.rate;
  return -1;
}

/// Seconds by which a finished file shows a frame later than it plays what the frame hears.
double picture_delay(double audio_start, bool official_sync) {
  const TempFolder folder;
  EngineOptions options;
  options.ckpt_dir = golden_path("speech/checkpoint");
  options.threads = 2;
  write_wav(folder / "click.wav", click(audio_start + 1.3, audio_start + kHeard, 16000), 16000);
  GenerationRequest request;
  request.task = "s2v-14B";
  request.prompt = "a red circle";
  request.size = VideoSize{64, 64};
  request.seed = 1;
  request.sample_steps = 1;
  request.sample_guide_scale = GuidanceScale{1.0, 1.0};
  request.image = golden_path("speech/square.png");
  request.speech.audio = folder / "click.wav";
  request.speech.audio_start = audio_start;
  request.speech.infer_frames = kClipFrames;
  request.speech.official_sync = official_sync;
  request.save_file = folder / "a.mp4";
  request.dump_dir = folder / "dump";
  make_engine(options, make_generation_backend(generation_backends().front())).generate(request);
  const std::vector<double> hearing =
      luma_of(folder / "dump" / "clip_01_decoded.npy", kHearing - kClipFrames);
  return shown(read_video(folder / "a.mp4"), hearing) - click_time(read_sound(folder / "a.mp4"));
}

// AAC smears a click by a part of its block of 1024 samples.
constexpr double kSmear = 0.002 + 64.0 / 16000;

TEST(SpeechSync, APictureIsShownWithTheSoundThatItHears) {
  EXPECT_NEAR(picture_delay(0, false), 0, kSmear);
  EXPECT_NEAR(picture_delay(0.25, false), 0, kSmear);
}

TEST(SpeechSync, TheOfficialPictureIsThreeFramesAheadOfItsSound) {
  EXPECT_NEAR(picture_delay(0, true), -3.0 / 16, kSmear);
}

}  // namespace
}  // namespace wan::test
