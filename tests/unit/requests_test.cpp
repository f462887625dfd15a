// Many requests, one after another: what an engine keeps between mixed sizes, and what one request's failure leaves to the next.

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <utility>

#include "backends/cpu/cpu_backend.h"
#include "engine/engine_internals.h"
#include "make_in_order.h"
#include "support/fenced_backend.h"
#include "support/temp_folder.h"

namespace wan::test {
namespace {

const std::filesystem::path kCheckpoint = std::filesystem::path(WAN_GOLDEN_DIR) / "pipeline/checkpoint";

/// A device with so much memory that this process alone uses.
class SmallDevice final : public FencedBackend {
 public:
  explicit SmallDevice(std::int64_t bytes)
      : FencedBackend(make_cpu_backend({.threads = 1})), bytes_(bytes), failing_(memory_) {
    leave_open();
  }
  Allocator& allocator() override { return failing_; }
  std::int64_t free_bytes() const override {
    if (lost_) fail(ErrorCode::kDevice, "the device is lost");
    return bytes_ - memory_use().now;
  }

  /// The allocation after `count` further ones fails once with `code`; after kDevice the device answers no more.
  void fail_after(int count, ErrorCode code) {
    failing_.left = count;
    failing_.failure = [this, code] {
      lost_ = code == ErrorCode::kDevice;
      fail(code, "a failure that was asked for");
    };
  }

 private:
  struct Failing final : Allocator {
    explicit Failing(Allocator& to) : inner(to) {}
    Device device() const override { return inner.device(); }
    std::byte* allocate(std::size_t bytes) override {
      if (failure && left-- == 0) std::exchange(failure, nullptr)();
      return inner.allocate(bytes);
    }
    void release(std::byte* data, std::size_t bytes) noexcept override { inner.release(data, bytes); }
    Allocator& inner;
    int left = 0;
    std::function<void()> failure;
  };
  std::int64_t bytes_;
  bool lost_ = false;
  Failing failing_;
};

class RequestsTest : public testing::Test {
 protected:
  /// A still, for speed.
  GenerationRequest still(int side, const std::string& name) const {
    GenerationRequest request;
    request.prompt = "a red circle";
    request.negative_prompt = "blurry";
    request.rng = "torch-cpu";
    request.size = VideoSize{side, side};
    request.frame_num = 1;
    request.sample_steps = 2;
    request.seed = 1;
    request.save_file = folder_ / name;
    return request;
  }
  static EngineOptions options(bool keep_models = true) {
    return {.ckpt_dir = kCheckpoint, .precision = "fp32", .keep_models = keep_models};
  }
  static Engine engine_with(std::int64_t bytes, bool keep_models = true) {
    return make_engine(options(keep_models), std::make_unique<SmallDevice>(bytes));
  }
  std::int64_t needed(const MemoryPlan& plan) const { return plan.peak - plan.program; }
  /// Memory in which all blocks have a place beside `small`, and fewer beside `large`, whose frames are whole.
  std::int64_t between(const GenerationRequest& small, const GenerationRequest& large) const {
    const std::int64_t most = needed(engine_with(kPlenty).plan(large));
    for (std::int64_t bytes = most - 1; bytes > 0; bytes -= most / 200) {
      const Engine engine = engine_with(bytes);
      const MemoryPlan plan = engine.plan(large);
      if (plan.vae_tile == 0 && plan.block_places < engine.plan(small).block_places) return bytes;
    }
    ADD_FAILURE() << "no such memory";
    return most;
  }
  EventHandler count_loads() {
    return [this](const Event& event) {
      const auto* phase = std::get_if<PhaseStarted>(&event);
      loads_ += phase != nullptr && phase->phase == Phase::kLoad ? 1 : 0;
    };
  }
  std::string bytes_of(const std::string& name) const {
    std::ifstream stream(folder_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }

  static constexpr std::int64_t kPlenty = std::int64_t{1} << 32;
  TempFolder folder_;
  int loads_ = 0;
};

TEST_F(RequestsTest, MixedSizesLoadOnceWhereAllBlocksFitBesideEach) {
  const std::vector<int> sides = {32, 96, 64, 32, 96};
  std::int64_t bytes = 0;
  for (const int side : sides)
    bytes = std::max(bytes, needed(engine_with(kPlenty).plan(still(side, "a.png"))));
  Engine engine = engine_with(bytes);
  std::map<int, std::string> plans;
  for (const int side : sides) {
    const GenerationRequest request = still(side, "a.png");
    const MemoryPlan plan = engine.plan(request);
    EXPECT_TRUE(plan.blocks_resident) << side;
    const auto [first, is_new] = plans.emplace(side, to_json(plan));
    EXPECT_EQ(first->second, to_json(plan)) << side << ": a later plan is another";
    engine.generate(request, count_loads());
  }
  EXPECT_EQ(loads_, 1);
}

TEST_F(RequestsTest, MixedSizesLoadOnceWhereTheLargestLeavesRoomForFewerBlocks) {
  const GenerationRequest small = still(32, "a.png");
  const GenerationRequest large = still(96, "b.png");
  Engine engine = engine_with(between(small, large));
  const int places = engine.plan(large).block_places;
  engine.expect(small);
  engine.expect(large);
  for (const GenerationRequest& request : {small, large, small, large}) {
    EXPECT_EQ(engine.plan(request).block_places, places);
    engine.generate(request, count_loads());
  }
  EXPECT_EQ(loads_, 1);
}

TEST_F(RequestsTest, WithoutNoticeTheLargestMovesBlocksOnce) {
  const GenerationRequest small = still(32, "a.png");
  const GenerationRequest large = still(96, "b.png");
  Engine engine = engine_with(between(small, large));
  for (const GenerationRequest& request : {small, large, small, large})
    engine.generate(request, count_loads());
  EXPECT_EQ(loads_, 2);
}

TEST_F(RequestsTest, KeptBlocksCostNoVideoItsWholeFrames) {
  // Frames beside no block at all, but not beside the two that would be kept.
  const GenerationRequest request = still(256, "a.png");
  std::int64_t bytes = needed(engine_with(kPlenty, /*keep_models=*/false).plan(request));
  const std::int64_t step = bytes / 400;
  while (engine_with(bytes - step, /*keep_models=*/false).plan(request).vae_tile == 0) bytes -= step;
  Engine alone = engine_with(bytes, /*keep_models=*/false);
  EXPECT_EQ(alone.plan(request).vae_tile, 0);
  alone.generate(request);
  const std::string expected = bytes_of("a.png");

  Engine engine = engine_with(bytes);
  EXPECT_EQ(to_json(engine.plan(request)), to_json(alone.plan(request)));
  const GenerationRequest small = still(32, "b.png");
  for (const GenerationRequest& each : {small, request, small, small}) engine.generate(each, count_loads());
  EXPECT_EQ(bytes_of("a.png"), expected);
  EXPECT_EQ(loads_, 3) << "before the large one, for it, and after it";
}

class InOrderTest : public RequestsTest {
 protected:
  /// Requests of lines 1, 2, ... for stills of these sides.
  std::vector<Request> requests(const std::vector<int>& sides) const {
    std::vector<Request> result;
    for (const int side : sides) {
      const int line = static_cast<int>(result.size()) + 1;
      result.push_back({.line = line,
                        .engine = options(/*keep_models=*/false),
                        .request = still(side, std::to_string(line) + ".png")});
    }
    return result;
  }
  /// On engines of `bytes`; `prepare` gets each one's device.
  std::string make(std::vector<Request>& requests, const std::function<void(SmallDevice&)>& prepare) {
    engines_ = 0;
    const auto make_one = [&](const EngineOptions& with) {
      ++engines_;
      auto device = std::make_unique<SmallDevice>(kPlenty);
      prepare(*device);
      return std::make_unique<Engine>(make_engine(with, std::move(device)));
    };
    RequestsReport report("requests.jsonl", /*json=*/false);
    testing::internal::CaptureStderr();
    make_in_order(requests, report, make_one, {}, stopped_);
    report.tell_end(requests, 1);
    return testing::internal::GetCapturedStderr();
  }
  static std::string states(const std::vector<Request>& requests) {
    std::string text;
    for (const Request& request : requests) text += ".mfs"[static_cast<int>(request.state)];
    return text;
  }
  std::atomic<bool> stopped_{false};
  int engines_ = 0;
};

TEST_F(InOrderTest, MemoryThatRunsOutInOneRequestIsThereForTheNext) {
  std::vector<Request> whole = requests({32, 32, 32});
  make(whole, [](SmallDevice&) {});
  ASSERT_EQ(states(whole), "mmm");
  const std::string expected = bytes_of("3.png");
  // While the first is loaded, in its steps, while it is decoded.
  for (const int allocation : {1, 30, 60}) {
    std::filesystem::remove(folder_ / "3.png");
    std::vector<Request> tried = requests({32, 32, 32});
    const std::string told =
        make(tried, [&](SmallDevice& device) { device.fail_after(allocation, ErrorCode::kOutOfMemory); });
    EXPECT_EQ(states(tried), "fmm") << told;
    EXPECT_NE(told.find("error: requests.jsonl:1: a failure that was asked for"), std::string::npos) << told;
    EXPECT_NE(told.find("made 2 of 3 videos"), std::string::npos) << told;
    EXPECT_EQ(bytes_of("3.png"), expected);
    EXPECT_EQ(engines_, 1);
  }
}

TEST_F(InOrderTest, ADeviceThatIsLostEndsAll) {
  std::vector<Request> tried = requests({32, 32, 32});
  const std::string told =
      make(tried, [](SmallDevice& device) { device.fail_after(30, ErrorCode::kDevice); });
  EXPECT_EQ(states(tried), "f..") << told;
  EXPECT_NE(told.find("the device can be used no more"), std::string::npos) << told;
  EXPECT_NE(told.find("not begun: requests.jsonl:2-3\n"), std::string::npos) << told;
}

TEST_F(InOrderTest, AStopIsOfAllThatFollow) {
  std::vector<Request> tried = requests({32, 32});
  stopped_ = true;
  make(tried, [](SmallDevice&) {});
  EXPECT_EQ(states(tried), "..");
  EXPECT_EQ(engines_, 0);
}

TEST_F(InOrderTest, AnEngineServesAsLongAsItsOptionsAreTheSame) {
  std::vector<Request> tried = requests({32, 32, 32, 32});
  tried[2].engine.vae_precision = "bf16";
  tried[3].engine.dit_fsdp = tried[3].engine.t5_fsdp = true;
  const std::string told = make(tried, [](SmallDevice&) {});
  EXPECT_EQ(states(tried), "mmmm") << told;
  EXPECT_EQ(engines_, 3);
  EXPECT_NE(told.find("note: another --vae_precision than before"), std::string::npos) << told;
  EXPECT_NE(told.find("note: another --dit_fsdp, --t5_fsdp, --vae_precision than before"), std::string::npos)
      << told;
}

TEST(LineRanges, JoinNeighbours) {
  EXPECT_EQ(line_ranges({7}), "7");
  EXPECT_EQ(line_ranges({1, 2}), "1-2");
  EXPECT_EQ(line_ranges({1, 3, 4, 5, 9}), "1, 3-5, 9");
}

}  // namespace
}  // namespace wan::test
