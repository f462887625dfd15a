// Frames a second and memory of preprocessing, with networks from files, of frames in memory: no video is read or written.
//
//   build/bench/preprocessing PROCESS_CHECKPOINT [animate or replace, animate] [WIDTHxHEIGHT, 1280x720] [FRAMES, 120] [DEVICE, auto] [THREADS, 0: all]
//
// bench/process_checkpoint.py makes a PROCESS_CHECKPOINT of random weights in the published sizes. FRAMES are taken after a few that are not counted, then four times as many, in whose
// peaks memory would show that grows with a video's length.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/memory_info.h"
#include "preprocess/face_crop.h"
#include "preprocess/frame_steps.h"
#include "preprocess/heatmaps.h"
#include "preprocess/official_networks.h"
#include "preprocess/pose_crop.h"
#include "preprocess/skeleton.h"

namespace {

using namespace wan;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

template <typename Call>
auto timed(double& seconds, const Call& call) {
  const Clock::time_point start = Clock::now();
  auto result = call();
  seconds += seconds_since(start);
  return result;
}

class TimedDetector final : public PersonDetector {
 public:
  explicit TimedDetector(PersonDetector& inner) : inner_(inner) {}
  int width() const override { return inner_.width(); }
  int height() const override { return inner_.height(); }
  Detections detect(std::span<const float> input) override {
    return timed(seconds, [&] { return inner_.detect(input); });
  }
  double seconds = 0;

 private:
  PersonDetector& inner_;
};

class TimedEstimator final : public KeypointEstimator {
 public:
  explicit TimedEstimator(KeypointEstimator& inner) : inner_(inner) {}
  int width() const override { return inner_.width(); }
  int height() const override { return inner_.height(); }
  Heatmaps estimate(std::span<const float> input) override {
    return timed(seconds, [&] { return inner_.estimate(input); });
  }
  double seconds = 0;

 private:
  KeypointEstimator& inner_;
};

/// Without what is done with its masks.
class TimedSegmenter final : public PersonSegmenter {
 public:
  explicit TimedSegmenter(PersonSegmenter& inner) : inner_(inner) {}
  std::int64_t chunk_frames() const override { return inner_.chunk_frames(); }
  void segment(std::int64_t frames, const PointsOfFrame& points_of, const FrameReader& read,
               const MaskSink& write) override {
    const Clock::time_point start = Clock::now();
    double written = 0;
    inner_.segment(frames, points_of, read, [&](std::int64_t i, std::span<const std::uint8_t> mask) {
      const Clock::time_point begun = Clock::now();
      write(i, mask);
      written += seconds_since(begun);
    });
    seconds += seconds_since(start) - written;
    mask_seconds += written;
  }
  double seconds = 0, mask_seconds = 0;

 private:
  PersonSegmenter& inner_;
};

/// A few pictures in turn: a pattern that moves, with noise.
class MadeFrames final : public FrameSource {
 public:
  MadeFrames(VideoSize size, std::int64_t count) : count_(count) {
    unsigned random = 1;
    for (unsigned shift = 0; shift < 8; ++shift) {
      Image& image = images_.emplace_back(make_image(size.width, size.height));
      for (std::size_t i = 0; i < image.rgb.size(); ++i) {
        random = random * 1664525u + 1013904223u;
        image.rgb[i] = static_cast<std::uint8_t>(i / 3 + 5 * shift + (random >> 28));
      }
    }
  }
  std::int64_t count() const override { return count_; }
  const Image& next() override { return images_[at_++ % images_.size()]; }

 private:
  std::vector<Image> images_;
  std::int64_t count_;
  std::size_t at_ = 0;
};

class NoSink final : public FrameSink {
 public:
  void write(const std::uint8_t*) override {}
  void finish() override {}
};

struct Given {
  PreprocessOptions options;
  VideoSize size;
  std::int64_t frames;
};

void run_once(const Given& given, const OfficialNetworks& networks, std::int64_t frames, bool told) {
  const Networks inner = networks.networks();
  TimedDetector detector(inner.detector);
  TimedEstimator estimator(inner.estimator);
  std::optional<TimedSegmenter> segmenter;
  if (inner.segmenter != nullptr) segmenter.emplace(*inner.segmenter);
  const Networks timed_networks{detector, estimator, segmenter ? &*segmenter : nullptr};
  MadeFrames source(given.size, frames);
  NoSink sink;
  PreprocessResult result{};
  result.size = given.size;
  result.frames = frames;
  const Image picture = make_image(given.size.width, given.size.height);
  const Clock::time_point start = Clock::now();
  run_frame_steps({.options = given.options,
                   .networks = timed_networks,
                   .frames = source,
                   .sinks = {sink, sink, &sink, &sink},
                   .on_event = {},
                   .cancelled = nullptr},
                  picture, result);
  const double seconds = seconds_since(start);
  if (!told) return;
  const auto each = [&](double all) { return 1e3 * all / static_cast<double>(frames); };
  std::printf("%lld frames: %.2f a second; ms a frame: all %.1f, detector %.1f, pose network %.1f",
              static_cast<long long>(frames), static_cast<double>(frames) / seconds, each(seconds),
              each(detector.seconds), each(estimator.seconds));
  if (segmenter)
    std::printf(", SAM 2 %.1f, masks %.1f", each(segmenter->seconds), each(segmenter->mask_seconds));
  std::printf("; peak: %.3f GB of the device, %.3f GB of the host\n",
              1e-9 * static_cast<double>(networks.memory_use().peak),
              1e-9 * static_cast<double>(peak_resident_bytes()));
  std::fflush(stdout);
}

/// Of one thread, which the steps have beside the networks.
void measure_host(const Given& given, const OfficialNetworks& networks) {
  const Networks n = networks.networks();
  MadeFrames source(given.size, 1);
  const Image frame = source.next();
  const int width = given.size.width, height = given.size.height;
  const PersonBox person{
      .left = 0.3 * width, .top = 0.1 * height, .right = 0.6 * width, .bottom = 0.95 * height, .score = 1};
  const PoseRegion region = pose_region(person, width, height, n.estimator.width(), n.estimator.height());
  const auto look = [&] {
    return pose_input(frame, region, n.estimator.width(), n.estimator.height(), PoseChannels::kBgr);
  };
  const Heatmaps maps = n.estimator.estimate(look());
  const auto decode = [&] {
    return group_points(decode_heatmaps(maps.values, maps.points, maps.width, maps.height, region), width,
                        height);
  };
  const Pose pose = decode();
  std::printf("the host's steps, ms:");
  const auto tell = [](const char* name, const auto& call) {
    constexpr int kRepeats = 10;
    double seconds = 0;
    for (int i = 0; i < kRepeats; ++i) timed(seconds, call);
    std::printf(" %s %.1f", name, 1e3 * seconds / kRepeats);
  };
  tell("detector's input", [&] { return detector_input(frame, n.detector.width(), n.detector.height()); });
  tell("pose network's input", look);
  tell("points", decode);
  tell("skeleton", [&] { return draw_skeleton(skeleton_of(pose), width, height); });
  tell("face", [&] {
    const FaceBox box{.left = width / 3, .right = width / 2, .top = height / 3, .bottom = 2 * height / 3};
    return face_picture(frame, box, given.options.face_size);
  });
  std::printf("\n");
}

void run(int argc, char** argv) {
  const auto argument = [&](int at, const char* usual) { return std::string(argc > at ? argv[at] : usual); };
  Given given;
  given.options.ckpt_path = argument(1, "");
  given.options.save_path = std::filesystem::temp_directory_path();
  given.options.replace_flag = argument(2, "animate") == "replace";
  const std::string size = argument(3, "1280x720");
  given.size = {std::atoi(size.c_str()), std::atoi(size.c_str() + size.find('x') + 1)};
  given.options.resolution_area = given.size;
  given.frames = std::atoll(argument(4, "120").c_str());
  given.options.device = argument(5, "auto");
  given.options.threads = std::atoi(argument(6, "0").c_str());
  const OfficialNetworks networks(given.options, {}, nullptr);
  measure_host(given, networks);
  run_once(given, networks, 4, /*told=*/false);
  run_once(given, networks, given.frames, /*told=*/true);
  run_once(given, networks, 4 * given.frames, /*told=*/true);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
