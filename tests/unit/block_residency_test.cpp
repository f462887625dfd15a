#include "weights/block_residency.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <future>
#include <mutex>
#include <thread>

#include "format/file_builder.h"
#include "support/expect_error.h"
#include "support/page_cache.h"
#include "support/temp_folder.h"
#include "unit/weights_fixture.h"

namespace wan {
namespace {

using test::CheckpointMaker;
using test::expect_error;
using test::FakeDevice;
using test::TempFolder;

constexpr int kBlocks = 5;
// Long enough for a loaded machine; reached only when a test fails.
constexpr std::chrono::seconds kPatience{10};

BlockLayout dit_layout() {
  return {.prefix = "blocks.{i}.",
          .weights = {{.name = "q.weight", .shape = {3, 5}},
                      {.name = "norm.weight", .shape = {7}, .dtype = WeightDType::kFloat32},
                      {.name = "o.weight", .shape = {4, 2}}}};
}

BlockLayout text_layout() {
  return {.prefix = "layer.{i}.", .weights = {{.name = "w", .shape = {40}}}};
}

class BlockResidencyTest : public testing::Test {
 protected:
  BlockResidencyTest() {
    for (int i = 0; i < kBlocks; ++i) {
      const std::string prefix = "dit.blocks." + std::to_string(i) + ".";
      const auto first = static_cast<float>(100 * i);
      maker_.add(prefix + "q.weight", {3, 5}, first, DType::kBF16);
      maker_.add(prefix + "norm.weight", {7}, first + 20);
      maker_.add(prefix + "o.weight", {4, 2}, first + 40);
    }
    for (int i = 0; i < 2; ++i)
      maker_.add("layer." + std::to_string(i) + ".w", {40}, static_cast<float>(1000 * i));
    report_.emplace(maker_.make(), "model");
  }
  std::vector<BlockGroup> groups(WeightTarget target) {
    const WeightScope scope(*report_, std::move(target));
    return {{scope.child("dit"), dit_layout(), kBlocks}, {scope, text_layout(), 2}};
  }
  // What the blocks of a lease must hold.
  static void expect_block(const BlockLease& lease, BlockId id) {
    if (id.group == 1) {
      ASSERT_EQ(lease.weights().size(), 1u);
      EXPECT_EQ(lease[0].as<float>()[39], static_cast<float>(1000 * id.index + 39));
      return;
    }
    ASSERT_EQ(lease.weights().size(), 3u);
    const auto first = static_cast<float>(100 * id.index);
    EXPECT_EQ(lease[0].shape(), (Shape{3, 5}));
    EXPECT_EQ(lease[0].as<float>()[14], first + 14);
    EXPECT_EQ(lease[1].as<float>()[6], first + 26);
    EXPECT_EQ(lease[2].shape(), (Shape{4, 2}));
    EXPECT_EQ(lease[2].as<float>()[7], first + 47);
    for (const TensorView& weight : lease.weights())
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(weight.data()) % 64, 0u);
  }
  CheckpointMaker maker_;
  std::optional<WeightReport> report_;
};

std::vector<BlockId> passes(int count) {
  std::vector<BlockId> schedule{{1, 0}, {1, 1}};
  for (int pass = 0; pass < count; ++pass)
    for (int block = 0; block < kBlocks; ++block) schedule.push_back({0, block});
  return schedule;
}

TEST_F(BlockResidencyTest, BothKindsGiveTheSameBytes) {
  for (const ResidencyKind kind : {ResidencyKind::kResident, ResidencyKind::kStreamed}) {
    const auto residency = make_residency(groups({}), {.kind = kind});
    EXPECT_NO_THROW(report_->check());  // every tensor is declared: none is unused
    residency->set_schedule(passes(3));
    residency->preload({});
    for (const BlockId id : passes(3)) expect_block(residency->acquire(id), id);
    EXPECT_EQ(residency->stats().acquired, 17);
    EXPECT_EQ(residency->stats().unscheduled, 0);
  }
}

TEST_F(BlockResidencyTest, HoldsComputeDtypeAndFloat32Weights) {
  const auto residency = make_residency(groups({.compute_dtype = DType::kBF16}), {});
  const BlockLease lease = residency->acquire({0, 2});
  EXPECT_EQ(to_float(lease[0].as<BF16>()[3]), 203.0f);
  EXPECT_EQ(lease[1].dtype(), DType::kF32);
  EXPECT_EQ(lease[1].as<float>()[0], 220.0f);
}

TEST_F(BlockResidencyTest, CountsTheMemoryItTakes) {
  // f32: 15 x 4 -> 64, 7 x 4 -> 64, 8 x 4 -> 64; text: 40 x 4 -> 192
  EXPECT_EQ(block_bytes(dit_layout(), DType::kF32), 192u);
  EXPECT_EQ(block_bytes(text_layout(), DType::kF32), 192u);
  EXPECT_EQ(block_bytes(text_layout(), DType::kBF16), 128u);
  FakeDevice device;
  for (const ResidencyKind kind : {ResidencyKind::kResident, ResidencyKind::kStreamed}) {
    const std::vector<BlockGroup> planned = groups(device.target(DType::kF32));
    const auto residency = make_residency(planned, {.kind = kind});
    EXPECT_EQ(residency->bytes(), residency_bytes(planned, {.kind = kind}));
    EXPECT_EQ(residency->bytes(), (kind == ResidencyKind::kResident ? 7 : 2) * 192u);
    std::size_t last = 0;
    residency->set_schedule(passes(1));
    residency->preload([&](std::size_t done, std::size_t total) {
      EXPECT_GT(done, last);
      EXPECT_EQ(total, residency->bytes());
      last = done;
    });
    EXPECT_EQ(last, residency->bytes());
    EXPECT_EQ(device.held, residency->bytes());
  }
  EXPECT_EQ(device.held, 0u);
}

TEST_F(BlockResidencyTest, ResidentGivesBackWhatTheScheduleNamesNoMore) {
  FakeDevice device;
  const auto residency = make_residency(groups(device.target(DType::kF32)), {.keep = false});
  residency->preload({});
  EXPECT_EQ(device.held, 7 * 192u) << "nothing is known of the future yet";
  residency->set_schedule(passes(2));
  EXPECT_EQ(device.held, 7 * 192u);
  const auto use = [&](BlockId id) { expect_block(residency->acquire(id), id); };
  use({1, 0});
  EXPECT_EQ(device.held, 6 * 192u) << "the text encoder's first block was used for the last time";
  {
    const BlockLease held = residency->acquire({1, 1});
    EXPECT_EQ(device.held, 6 * 192u);
  }
  EXPECT_EQ(device.held, 5 * 192u);
  for (int pass = 0; pass < 2; ++pass)
    for (int block = 0; block < kBlocks; ++block) {
      use({0, block});
      EXPECT_EQ(device.held, (pass == 0 ? 5u : 4u - static_cast<unsigned>(block)) * 192u);
    }
  EXPECT_EQ(device.held, 0u);
  EXPECT_EQ(residency->stats().ready, 12);
  // The next run loads them again.
  residency->set_schedule(passes(1));
  for (const BlockId id : passes(1)) use(id);
  EXPECT_EQ(device.held, 0u);
  // What a schedule skips or does not name is given back too; a leased block is not.
  residency->preload({});
  BlockLease leased = residency->acquire({0, 0});
  residency->set_schedule(std::vector<BlockId>{{0, 1}, {0, 2}});
  EXPECT_EQ(device.held, 3 * 192u);
  use({0, 2});
  EXPECT_EQ(device.held, 1 * 192u);
  leased.release();
  EXPECT_EQ(device.held, 0u);
}

TEST_F(BlockResidencyTest, ResidentLoadsOnFirstUseWithoutPreload) {
  const auto residency = make_residency(groups({}), {});
  EXPECT_EQ(residency->stats().loaded, 0);
  expect_block(residency->acquire({0, 3}), {0, 3});
  expect_block(residency->acquire({0, 3}), {0, 3});
  EXPECT_EQ(residency->stats().loaded, 1);
  EXPECT_EQ(residency->stats().ready, 1);
  EXPECT_EQ(residency->stats().unscheduled, 2);
}

// A gate in the upload: each upload of a weight waits until it is let through.
class Gate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait_for(lock, kPatience, [&] { return allowed_ > 0; });
    --allowed_;
  }
  void allow(int count) {
    const std::lock_guard lock(mutex_);
    allowed_ += count;
    changed_.notify_all();
  }
  bool wait_for_arrivals(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return arrived_ >= count; });
  }
  int arrived() {
    const std::lock_guard lock(mutex_);
    return arrived_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int arrived_ = 0;
  int allowed_ = 0;
};

bool wait_for_loads(const BlockResidency& residency, int count) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (residency.stats().loaded < count && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return residency.stats().loaded >= count;
}

TEST_F(BlockResidencyTest, StatsOfAnotherThreadAreThoseOfOneMoment) {
  FakeDevice device;
  BlockResidency* resident = nullptr;
  std::future<ResidencyStats> seen;
  std::once_flag asked;  // several threads upload
  const auto ask = [&] {
    std::call_once(asked, [&] {
      seen = std::async(std::launch::async, [&] { return resident->stats(); });
      seen.wait_for(std::chrono::milliseconds(200));  // in which it has read what nothing keeps it from
    });
  };
  const auto owner =
      make_residency(groups(device.target(DType::kF32, ask)), {.kind = ResidencyKind::kResident});
  resident = owner.get();
  const BlockLease lease = owner->acquire({0, 1});
  const ResidencyStats stats = seen.get();
  EXPECT_EQ(stats.acquired, 1);
  EXPECT_EQ(stats.loaded, 1);
}

TEST_F(BlockResidencyTest, StreamedLoadsTheNextBlockWhileOneIsHeld) {
  FakeDevice device;
  Gate gate;
  const auto residency = make_residency(groups(device.target(DType::kF32, [&] { gate.pass(); })),
                                        {.kind = ResidencyKind::kStreamed});
  const std::vector<BlockId> schedule{{0, 0}, {0, 1}, {0, 2}};
  residency->set_schedule(schedule);
  EXPECT_TRUE(gate.wait_for_arrivals(1));  // before anything is acquired
  gate.allow(3);
  BlockLease first = residency->acquire({0, 0});
  EXPECT_TRUE(gate.wait_for_arrivals(4));  // the second block's first weight, while the first block is held
  gate.allow(3);
  EXPECT_TRUE(wait_for_loads(*residency, 2));
  EXPECT_EQ(gate.arrived(), 6);  // both places are taken: the third block waits for a lease to end
  first.release();
  gate.allow(3);
  const BlockLease second = residency->acquire({0, 1});
  expect_block(second, {0, 1});
  EXPECT_TRUE(gate.wait_for_arrivals(7));
  EXPECT_TRUE(wait_for_loads(*residency, 3));
  expect_block(second, {0, 1});  // untouched by the third
  expect_block(residency->acquire({0, 2}), {0, 2});
  EXPECT_GE(residency->stats().ready, 2);  // the second and the third; the first where its thread was quick
}

TEST_F(BlockResidencyTest, StreamedKeepsABlockThatComesAgainAndSkipsAhead) {
  const auto residency = make_residency(groups({}), {.kind = ResidencyKind::kStreamed});
  // Both guidance passes run per block: each block is acquired twice, loaded once.
  const std::vector<BlockId> twice{{0, 0}, {0, 0}, {0, 1}, {0, 1}, {0, 4}, {0, 2}};
  residency->set_schedule(twice);
  for (std::size_t i = 0; i < 4; ++i) expect_block(residency->acquire(twice[i]), twice[i]);
  expect_block(residency->acquire({0, 2}), {0, 2});  // skips block 4
  expect_block(residency->acquire({1, 1}), {1, 1});  // in no schedule
  const ResidencyStats stats = residency->stats();
  EXPECT_EQ(stats.unscheduled, 1);
  EXPECT_LE(stats.loaded, 5);  // 0, 1, 2, the text block, and perhaps 4 ahead
}

// The text layers stand for a second expert.
TEST_F(BlockResidencyTest, TheSecondExpertTakesTheFirstOnesPlacesInItsLastPass) {
  constexpr int kPasses = 3;
  std::vector<BlockId> schedule;
  for (int pass = 0; pass < kPasses; ++pass)
    for (int block = 0; block < kBlocks; ++block) schedule.push_back({0, block});
  for (int pass = 0; pass < kPasses; ++pass)
    for (int block = 0; block < 2; ++block) schedule.push_back({1, block});
  const auto residency = make_residency(groups({}), {.kind = ResidencyKind::kStreamed, .places = kBlocks});
  residency->set_schedule(schedule);
  EXPECT_TRUE(wait_for_loads(*residency, kBlocks));
  const auto pass = [&](int group, int count) {
    for (int block = 0; block < count; ++block)
      expect_block(residency->acquire({group, block}), {group, block});
  };
  for (int i = 1; i < kPasses; ++i) pass(0, kBlocks);
  EXPECT_EQ(residency->stats().loaded, kBlocks) << "every place is needed again";
  for (int block = 0; block < 2; ++block) {
    expect_block(residency->acquire({0, block}), {0, block});
    EXPECT_TRUE(wait_for_loads(*residency, kBlocks + block + 1))
        << "a place that is done with is filled at once";
  }
  for (int block = 2; block < kBlocks; ++block) expect_block(residency->acquire({0, block}), {0, block});
  for (int i = 0; i < kPasses; ++i) pass(1, 2);
  const ResidencyStats stats = residency->stats();
  EXPECT_EQ(stats.loaded, kBlocks + 2);
  EXPECT_EQ(stats.ready, stats.acquired) << "the switch waits for nothing";
}

TEST_F(BlockResidencyTest, BlocksThatHaveAPlaceStayWhereNotAllDo) {
  constexpr int kPasses = 10;
  constexpr int kPlaces = 4;
  const auto residency = make_residency(groups({}), {.kind = ResidencyKind::kStreamed, .places = kPlaces});
  std::vector<BlockId> schedule;
  for (int i = 0; i < kPasses * kBlocks; ++i) schedule.push_back({0, i % kBlocks});
  residency->set_schedule(schedule);
  for (const BlockId id : schedule) {
    expect_block(residency->acquire(id), id);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  // One place has what is computed and one what comes next; of the other blocks, the rest of the places keep theirs.
  EXPECT_LE(residency->stats().loaded, kBlocks + (kPasses - 1) * (kBlocks - (kPlaces - 2)));
  EXPECT_GE(residency->stats().loaded, kBlocks + (kPasses - 1) * (kBlocks - kPlaces));
}

TEST_F(BlockResidencyTest, StreamedGivesBackPlacesThatNoBlockIsLeftFor) {
  FakeDevice device;
  const auto residency = make_residency(groups(device.target(DType::kF32)),
                                        {.kind = ResidencyKind::kStreamed, .keep = false, .places = 4});
  EXPECT_EQ(device.held, 4 * 192u);
  residency->set_schedule(passes(2));
  for (int run = 0; run < 2; ++run) {  // the second run takes its places anew
    if (run > 0) residency->set_schedule(passes(2));
    EXPECT_EQ(device.held, 4 * 192u);
    const std::vector<BlockId> schedule = passes(2);
    for (std::size_t i = 0; i < schedule.size(); ++i) {
      expect_block(residency->acquire(schedule[i]), schedule[i]);
      EXPECT_LE(device.held, std::max<std::size_t>(std::min<std::size_t>(schedule.size() - i, 4), 1) * 192u);
    }
    EXPECT_EQ(device.held, 0u);
    EXPECT_LE(residency->stats().loaded, (run + 1) * (2 + 2 * kBlocks))
        << "none is given back before its use";
  }
  expect_block(residency->acquire({0, 3}), {0, 3});  // in no schedule
  residency->set_schedule({});
  EXPECT_EQ(device.held, 0u);
}

TEST_F(BlockResidencyTest, StreamedAcquiresInAnyOrder) {
  const auto residency = make_residency(groups({}), {.kind = ResidencyKind::kStreamed});
  residency->set_schedule(passes(2));
  unsigned state = 1;
  for (int i = 0; i < 500; ++i) {
    state = state * 1664525u + 1013904223u;
    const BlockId id{static_cast<int>(state >> 31), static_cast<int>((state >> 16) % 2)};
    if (i % 50 == 49) residency->set_schedule(passes(2));
    const BlockLease lease = residency->acquire(id);
    if (i % 3 == 0) {
      const BlockId other{0, static_cast<int>((state >> 20) % kBlocks)};
      expect_block(residency->acquire(other), other);  // two leases at once
    }
    expect_block(lease, id);
  }
}

TEST_F(BlockResidencyTest, StreamedRefusesMoreLeasesThanPlaces) {
  const auto residency = make_residency(groups({}), {.kind = ResidencyKind::kStreamed});
  const BlockLease a = residency->acquire({0, 0});
  const BlockLease b = residency->acquire({0, 1});
  const BlockLease again = residency->acquire({0, 0});
  expect_error(ErrorCode::kInternal, "release a lease first", [&] { residency->acquire({0, 2}); });
  expect_block(a, {0, 0});
  expect_error(ErrorCode::kInvalidArgument, "no block 5", [&] { residency->acquire({0, 5}); });
  const std::vector<BlockId> wrong{{2, 0}};
  expect_error(ErrorCode::kInvalidArgument, "group 2", [&] { residency->set_schedule(wrong); });
}

TEST_F(BlockResidencyTest, AnErrorInTheBackgroundReachesAcquireAndIsTriedAgain) {
  FakeDevice device;
  std::atomic<bool> broken = true;
  const auto upload = [&] {
    if (broken) fail(ErrorCode::kDevice, "the copy failed");
  };
  const auto residency =
      make_residency(groups(device.target(DType::kF32, upload)), {.kind = ResidencyKind::kStreamed});
  residency->set_schedule(passes(1));
  expect_error(ErrorCode::kDevice, "the copy failed", [&] { residency->acquire({1, 0}); });
  expect_error(ErrorCode::kDevice, "the copy failed", [&] { residency->preload({}); });
  broken = false;
  residency->set_schedule(passes(1));
  // A block that failed ahead of time reports once more, then loads.
  for (const BlockId id : passes(1)) {
    try {
      expect_block(residency->acquire(id), id);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kDevice);
      expect_block(residency->acquire(id), id);
    }
  }
}

TEST_F(BlockResidencyTest, WaitsForTheLastUseBeforeOverwriting) {
  FakeDevice device;
  std::atomic<int> waited = 0;
  int loads = 0;
  int early = 0;
  // One weight a block, so that an upload is a load. The first two fill memory that was just taken; each later one
  // overwrites a block that was leased once.
  const auto upload = [&] {
    ++loads;
    if (waited < loads) ++early;
  };
  const ResidencyOptions options{.kind = ResidencyKind::kStreamed,
                                 .mark_use = [&]() -> std::function<void()> { return [&] { ++waited; }; }};
  {
    const WeightScope scope(*report_, device.target(DType::kF32, upload));
    const BlockLayout layout{.prefix = "blocks.{i}.", .weights = {{.name = "q.weight", .shape = {3, 5}}}};
    const auto residency = make_residency({{scope.child("dit"), layout, kBlocks}}, options);
    std::vector<BlockId> schedule;
    for (int i = 0; i < 3 * kBlocks; ++i) schedule.push_back({0, i % kBlocks});
    residency->set_schedule(schedule);
    for (const BlockId id : schedule) residency->acquire(id);
  }
  EXPECT_EQ(loads, 3 * kBlocks);
  EXPECT_EQ(waited, loads);
  EXPECT_EQ(early, 0);
}

// Of a file that is not in the page cache. The first block may be smaller, held as its file has it.
TEST_F(BlockResidencyTest, TheNextBlockIsReadAhead) {
  constexpr std::int64_t kRows = 1 << 11;
  constexpr std::int64_t kColumns = 1 << 12;  // past what Linux reads ahead by itself
  const TempFolder folder;
  for (const bool packed : {false, true}) {
    std::string header = "{";
    std::int64_t size = 0;
    for (int i = 0; i < 3; ++i) {
      const bool small = packed && i == 0;
      const std::int64_t end = size + kRows * kColumns * (small ? 1 : 4);
      header += (i > 0 ? ",\"layer." : "\"layer.") + std::to_string(i) + R"(.w":{"dtype":")" +
                (small ? "F8_E4M3" : "F32") + R"(","shape":[)" + std::to_string(kRows) + "," +
                std::to_string(kColumns) + R"(],"data_offsets":[)" + std::to_string(size) + "," +
                std::to_string(end) + "]}";
      size = end;
    }
    const std::filesystem::path path =
        write_test_file(folder / (packed ? "packed.safetensors" : "cold.safetensors"),
                        safetensors_file(header + "}", std::string(static_cast<std::size_t>(size), '\0')));
    test::drop_from_page_cache(path);
    const Checkpoint checkpoint = Checkpoint::open(path);
    const auto end_is_cached = [&](const std::string& name) {
      return test::in_page_cache(&checkpoint.find(name)->storage.back());
    };
    if (end_is_cached("layer.1.w")) GTEST_SKIP() << "the file system keeps what it wrote in memory";
    WeightReport report(checkpoint, "model");
    const WeightScope scope(report, {});
    const BlockLayout layout{.prefix = "layer.{i}.", .weights = {{.name = "w", .shape = {kRows, kColumns}}}};
    const auto residency = make_residency({{scope, with_packed(layout, scope, 3), 3}}, {});
    const BlockLease first = residency->acquire({0, 0});
    EXPECT_EQ(first[0].dtype() == DType::kF32, !packed);
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!end_is_cached("layer.1.w") && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_TRUE(end_is_cached("layer.1.w")) << (packed ? "after a packed one" : "");
    EXPECT_FALSE(end_is_cached("layer.2.w")) << "one block at a time";
    const BlockLease last = residency->acquire({0, 2});  // nothing comes after it
  }
}

TEST_F(BlockResidencyTest, AFileCutShortIsRefused) {
  constexpr std::int64_t kElements = 1 << 20;
  constexpr std::int64_t kBytes = kElements * 4;
  std::string header = "{";
  for (int i = 0; i < 2; ++i)
    header += (i > 0 ? ",\"layer." : "\"layer.") + std::to_string(i) + R"(.w":{"dtype":"F32","shape":[)" +
              std::to_string(kElements) + R"(],"data_offsets":[)" + std::to_string(i * kBytes) + "," +
              std::to_string((i + 1) * kBytes) + "]}";
  const TempFolder folder;
  for (const bool streamed : {false, true}) {
    const std::filesystem::path path = write_test_file(
        folder / "cut.safetensors", safetensors_file(header + "}", std::string(2 * kBytes, '\0')));
    const Checkpoint checkpoint = Checkpoint::open(path);
    WeightReport report(checkpoint, "model");
    const BlockLayout layout{.prefix = "layer.{i}.", .weights = {{.name = "w", .shape = {kElements}}}};
    const WeightScope scope(report, {});
    const auto residency = make_residency(
        {{scope, layout, 2}}, {.kind = streamed ? ResidencyKind::kStreamed : ResidencyKind::kResident});
    { const BlockLease whole = residency->acquire({0, 0}); }
    std::filesystem::resize_file(path,
                                 static_cast<std::uintmax_t>(kBytes));  // in the first block's last values
    expect_error(ErrorCode::kBadFile, "cut short while it was read", [&] { residency->acquire({0, 1}); });
    expect_error(ErrorCode::kBadFile, "cut short while it was read",
                 [&] { scope.load({.name = "layer.0.w", .shape = {kElements}}); });
  }
}

TEST_F(BlockResidencyTest, MissingWeightsAreReportedAtOnceAndRefusedWhenAcquired) {
  const WeightScope scope(*report_, WeightTarget{});
  std::vector<BlockGroup> all{{scope.child("dit"), dit_layout(), kBlocks + 1}, {scope, text_layout(), 2}};
  const auto residency = make_residency(all, {.kind = ResidencyKind::kStreamed});
  EXPECT_EQ(report_->missing().size(), 3u);
  expect_error(ErrorCode::kBadFile, "dit.blocks.5.norm.weight [7]", [&] { report_->check(); });
  expect_error(ErrorCode::kBadFile, "dit.blocks.5.q.weight", [&] { residency->acquire({0, kBlocks}); });
  expect_block(residency->acquire({0, 0}), {0, 0});
}

TEST_F(BlockResidencyTest, DescribesWithoutMemory) {
  const WeightScope scope = WeightScope::describing(*report_, DType::kBF16);
  const std::vector<BlockGroup> all{{scope.child("dit"), dit_layout(), kBlocks}, {scope, text_layout(), 2}};
  for (const ResidencyKind kind : {ResidencyKind::kResident, ResidencyKind::kStreamed}) {
    const auto residency = make_residency(all, {.kind = kind});
    EXPECT_TRUE(report_->clean());
    EXPECT_GT(residency->bytes(), 0u);
    expect_error(ErrorCode::kInternal, "", [&] { residency->acquire({0, 0}); });
  }
}

}  // namespace
}  // namespace wan
