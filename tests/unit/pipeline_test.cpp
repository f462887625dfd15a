// Settings and latents on disk: what goes out comes back, and nothing else is taken for it. Schedules of blocks.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "kept/saved_latents.h"
#include "media/safetensors_writer.h"
#include "pipeline/run.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace wan::test {
namespace {

GenerationSettings some_settings() {
  GenerationSettings s;
  s.task = "t2v-A14B";
  s.prompt = "a “red” circle,\nmoving";
  s.negative_prompt = "";
  s.seed = 9007199254740993;  // not a double
  s.size = {128, 64};
  s.frame_num = 5;
  s.fps = 23.976;
  s.solver = SolverKind::kDPMpp;
  s.steps = 20;
  s.shift = 0.1 + 0.2;
  s.guide_scale = {1.0 / 3.0, 4.0};
  s.boundary = 0.875;
  s.rng = parse_random_spec("torch-cuda:84x1536");
  s.model = "demo";
  s.precision = "fp32";
  s.vae_precision = "bf16";
  return s;
}

Tensor filled(float value) {
  Tensor tensor(DType::kF32, {16, 2, 8, 16});
  std::fill_n(tensor.as<float>(), tensor.elements(), value);
  return tensor;
}

SavedLatents unfinished() {
  SavedLatents latents;
  latents.slots.push_back(filled(1.5f));
  latents.slots.push_back(filled(-2.0f));
  latents.slots.push_back(filled(0.25f));
  latents.next_step = 7;
  latents.settings = some_settings();
  return latents;
}

TEST(Settings, ComeBackFromTextToTheLastBit) {
  const GenerationSettings settings = some_settings();
  const GenerationSettings back = settings_from_metadata(to_metadata(settings), "test");
  EXPECT_EQ(to_metadata(back), to_metadata(settings));
  EXPECT_EQ(back.seed, settings.seed);
  EXPECT_EQ(back.shift, settings.shift);
  EXPECT_EQ(back.guide_scale.low_noise, settings.guide_scale.low_noise);
  EXPECT_EQ(back.rng, settings.rng);
}

TEST(Settings, OfTheOutputAreKeptWhereTheyAreNotTheDefault) {
  const auto has = [](const Metadata& metadata, const std::string& key) {
    return std::any_of(metadata.begin(), metadata.end(), [&](const auto& pair) { return pair.first == key; });
  };
  GenerationSettings settings = some_settings();
  EXPECT_FALSE(has(to_metadata(settings), "codec"));
  EXPECT_FALSE(has(to_metadata(settings), "crf"));
  settings.encoding = {VideoCodec::kAv1, 60};
  const GenerationSettings back = settings_from_metadata(to_metadata(settings), "test");
  EXPECT_EQ(back.encoding.codec, VideoCodec::kAv1);
  EXPECT_EQ(back.encoding.crf, 60);
  for (const auto& [key, value] :
       {std::pair("codec", "h265"), {"codec", "vp9"}, {"crf", "64"}, {"crf", "-1"}}) {
    Metadata changed = to_metadata(settings);
    for (auto& pair : changed)
      if (pair.first == key) pair.second = value;
    expect_error(ErrorCode::kBadFile, "test: \"c", [&] { settings_from_metadata(changed, "test"); });
  }

  // What a request says comes before what was kept; a crf that was kept is of its codec; PNG has neither.
  GenerationRequest request;
  request.save_file = "video.mp4";
  request.output.fps = 30;
  GenerationSettings taken = back;
  take_output_options(request, taken);
  EXPECT_EQ(taken.fps, 30);
  EXPECT_EQ(taken.encoding.crf, 60);
  request.output.codec = "h264";
  take_output_options(request, taken);
  EXPECT_EQ(taken.encoding.codec, VideoCodec::kH264);
  EXPECT_FALSE(taken.encoding.crf);
  request.save_file = "frames_%05d.png";
  expect_error(ErrorCode::kInvalidArgument, "`codec` is of .mp4",
               [&] { take_output_options(request, taken); });
  request.output.codec.reset();
  taken = back;
  take_output_options(request, taken);
  EXPECT_FALSE(has(to_metadata(taken), "codec"));
  for (const double fps : {0.0, -1.0, 1e6, std::numeric_limits<double>::quiet_NaN()}) {
    request.output.fps = fps;
    expect_error(ErrorCode::kInvalidArgument, "`fps`", [&] { take_output_options(request, taken); });
  }
}

TEST(Settings, EveryKeyIsNeededAndChecked) {
  const Metadata whole = to_metadata(some_settings());
  for (std::size_t i = 0; i + 1 < whole.size(); ++i) {  // "version", the last, is only informative
    Metadata without = whole;
    without.erase(without.begin() + static_cast<std::ptrdiff_t>(i));
    if (whole[i].first == "vae_precision") {
      EXPECT_EQ(settings_from_metadata(without, "test").vae_precision, "fp32") << "of earlier versions";
      continue;
    }
    if (whole[i].first == "boundary") {
      EXPECT_FALSE(settings_from_metadata(without, "test").boundary) << "of tasks with one transformer";
      continue;
    }
    expect_error(ErrorCode::kBadFile, "\"" + whole[i].first + "\"",
                 [&] { settings_from_metadata(without, "test"); });
  }
  for (const char* key : {"seed", "size", "frame_num", "sample_solver", "sample_guide_scale", "rng"}) {
    Metadata wrong = whole;
    for (auto& [name, value] : wrong)
      if (name == key) value += "x";
    expect_error(ErrorCode::kBadFile, key, [&] { settings_from_metadata(wrong, "test"); });
  }
}

TEST(Settings, ValuesThatNoRunCanHaveAreRefused) {
  const Metadata whole = to_metadata(some_settings());
  const std::pair<const char*, const char*> wrong[] = {{"seed", "-1"},
                                                       {"model", ""},
                                                       {"frame_num", "0"},
                                                       {"fps", "0"},
                                                       {"fps", "-8"},
                                                       {"fps", "nan"},
                                                       {"fps", "1e9"},
                                                       {"fps", "inf"},
                                                       {"sample_steps", "0"},
                                                       {"sample_steps", "1001"},
                                                       {"sample_shift", "0"},
                                                       {"sample_shift", "nan"},
                                                       {"precision", "fp8"},
                                                       {"precision", ""},
                                                       {"vae_precision", "fp16"},
                                                       {"boundary", "nan"},
                                                       {"boundary", "0"},
                                                       {"size", "0*16"},
                                                       {"sample_guide_scale", "nan"}};
  for (const auto& [key, value] : wrong) {
    Metadata changed = whole;
    for (auto& pair : changed)
      if (pair.first == key) pair.second = value;
    expect_error(ErrorCode::kBadFile, std::string("test: \"") + key + '"',
                 [&] { settings_from_metadata(changed, "test"); });
  }
}

TEST(SavedLatents, KeepAnUnfinishedRunWhole) {
  const TempFolder folder;
  const SavedLatents latents = unfinished();
  save_latents(folder / "a.safetensors", latents);
  const SavedLatents back = load_latents(folder / "a.safetensors");
  EXPECT_FALSE(back.finished());
  EXPECT_EQ(back.next_step, 7);
  ASSERT_EQ(back.slots.size(), 3u);
  for (std::size_t slot = 0; slot < 3; ++slot)
    EXPECT_EQ(std::memcmp(back.slots[slot].view().data(), latents.slots[slot].view().data(),
                          latents.slots[slot].bytes()),
              0);
  EXPECT_EQ(to_metadata(*back.settings), to_metadata(*latents.settings));
}

TEST(SavedLatents, KeepTheSegmentsThatAreDone) {
  const TempFolder folder;
  SavedLatents latents = unfinished();
  latents.segment = 2;
  latents.segments = 3;
  latents.done.add(filled(3.0f));
  latents.done.add(filled(4.0f));
  save_latents(folder / "a.safetensors", latents);
  const SavedLatents back = load_latents(folder / "a.safetensors");
  EXPECT_EQ(back.segment, 2);
  EXPECT_EQ(back.segments, 3);
  ASSERT_EQ(back.done.size(), 2u);
  EXPECT_EQ(back.done[1].as<float>()[0], 4.0f);
  EXPECT_EQ(back.slots.size(), 3u);
  EXPECT_FALSE(back.finished());

  latents.next_step = 20;
  latents.segment = 1;
  latents.done.remove_last();
  save_latents(folder / "b.safetensors", latents);
  const SavedLatents between = load_latents(folder / "b.safetensors");
  EXPECT_TRUE(between.segment_finished());
  EXPECT_FALSE(between.finished()) << "one segment is left";
}

TEST(SavedLatents, RefuseSegmentsThatCannotBe) {
  const TempFolder folder;
  const std::vector<float> values(4, 0.5f);
  const SafetensorsEntry entry{"latents", {1, 1, 2, 2}, values};
  for (const char* segment : {"3/3", "-1/3", "1", "1/", "/3", "1/3x", "0/0", "1/3"}) {
    Metadata metadata = to_metadata(some_settings());
    metadata.emplace_back("next_step", "20");
    metadata.emplace_back("segment", segment);
    write_safetensors(folder / "x.safetensors", std::span(&entry, 1), metadata);
    expect_error(ErrorCode::kBadFile, "segment", [&] { load_latents(folder / "x.safetensors"); });
  }
}

TEST(SavedLatents, OfAFinishedRunAreTheLatentAlone) {
  const TempFolder folder;
  SavedLatents latents = unfinished();
  latents.next_step = 20;
  save_latents(folder / "a.safetensors", latents);
  const SavedLatents back = load_latents(folder / "a.safetensors");
  EXPECT_TRUE(back.finished());
  EXPECT_EQ(back.slots.size(), 1u);
}

TEST(SavedLatents, OfAnotherProgramNeedOnlyATensor) {
  const TempFolder folder;
  const std::vector<float> values(16 * 2 * 4 * 4, 0.5f);
  const SafetensorsEntry entry{"latents", {16, 2, 4, 4}, values};
  write_safetensors(folder / "a.safetensors", std::span(&entry, 1), {});
  const SavedLatents back = load_latents(folder / "a.safetensors");
  EXPECT_TRUE(back.finished());
  EXPECT_FALSE(back.settings);
  EXPECT_FALSE(back.automatic);
  write_safetensors(folder / "b.safetensors", std::span(&entry, 1), {{"format", "pt"}});
  EXPECT_FALSE(load_latents(folder / "b.safetensors").settings)
      << "keys of another program mean nothing here";
}

TEST(SavedLatents, TellWhoseFileTheyAre) {
  const TempFolder folder;
  SavedLatents latents = unfinished();
  save_latents(folder / "requested.safetensors", latents);
  latents.automatic = true;
  save_latents(folder / "automatic.safetensors", latents);
  EXPECT_FALSE(load_latents(folder / "requested.safetensors").automatic);
  EXPECT_TRUE(load_latents(folder / "automatic.safetensors").automatic);
}

TEST(SavedLatents, RefuseWhatTheyAreNot) {
  const TempFolder folder;
  const auto refuse = [&](const std::string& name, std::vector<std::int64_t> shape, float value,
                          const Metadata& metadata, const std::string& part) {
    std::int64_t count = 1;
    for (const std::int64_t extent : shape) count *= extent;
    const std::vector<float> values(static_cast<std::size_t>(count), value);
    const SafetensorsEntry entry{name, shape, values};
    write_safetensors(folder / "x.safetensors", std::span(&entry, 1), metadata);
    expect_error(ErrorCode::kBadFile, part, [&] { load_latents(folder / "x.safetensors"); });
  };
  refuse("weights", {1, 1, 2, 2}, 0.0f, {}, "latents");
  refuse("latents", {2, 2}, 0.0f, {}, "latents");
  refuse("latents", {1, 1, 2, 2}, std::numeric_limits<float>::quiet_NaN(), {}, "not finite");
  refuse("latents", {1, 1, 2, 2}, 0.0f, {{"prompt", "x"}}, "metadata");
  Metadata no_step = to_metadata(some_settings());
  refuse("latents", {1, 1, 2, 2}, 0.0f, no_step, "next_step");
  for (const char* step : {"-1", "21", "x", ""}) {
    Metadata metadata = no_step;
    metadata.emplace_back("next_step", step);
    refuse("latents", {1, 1, 2, 2}, 0.0f, metadata, "next_step");
  }
}

/// Remembers its schedule.
class ScheduleRecorder final : public BlockResidency {
 public:
  void preload(const LoadProgress&) override {}
  void set_schedule(std::span<const BlockId> schedule) override {
    blocks.assign(schedule.begin(), schedule.end());
  }
  BlockLease acquire(BlockId) override { return {}; }
  std::size_t bytes() const override { return 0; }
  ResidencyStats stats() const override { return {}; }

  std::vector<BlockId> blocks;

 private:
  void release(std::size_t) noexcept override {}
};

TEST(Schedules, GoToTheResidencyThatHasTheBlocks) {
  const Checkpoint checkpoint = Checkpoint::open(std::filesystem::path(WAN_GOLDEN_DIR) /
                                                 "pipeline/checkpoint/models_t5_umt5-xxl-enc-bf16.pth");
  WeightReport report(checkpoint, "text encoder");
  const WeightScope scope = WeightScope::describing(report);
  const Umt5Config config = umt5_config(scope);
  ASSERT_EQ(config.num_layers, 2);
  const std::vector<BlockId> denoising = {{1, 0}, {1, 1}, {0, 0}};

  ScheduleRecorder shared;
  const Umt5Encoder together(config, scope, shared, 2, "");
  set_schedules(&together, 2, shared, denoising);
  EXPECT_EQ(shared.blocks, (std::vector<BlockId>{{2, 0}, {2, 1}, {2, 0}, {2, 1}, {1, 0}, {1, 1}, {0, 0}}));

  ScheduleRecorder own;
  const Umt5Encoder apart(config, scope, own, 0, "");
  set_schedules(&apart, 2, shared, denoising);
  EXPECT_EQ(own.blocks, (std::vector<BlockId>{{0, 0}, {0, 1}, {0, 0}, {0, 1}}));
  EXPECT_EQ(shared.blocks, denoising);
  set_schedules(&apart, 0, shared, {});
  EXPECT_TRUE(own.blocks.empty());
  EXPECT_TRUE(shared.blocks.empty());
}

}  // namespace
}  // namespace wan::test
