// Blocks some of which have weights besides, as an injector of sound: however blocks are held, these come with them and take memory
// of them alone.

#include <gtest/gtest.h>

#include <thread>

#include "support/expect_error.h"
#include "unit/weights_fixture.h"
#include "weights/block_residency.h"

namespace wan {
namespace {

using test::CheckpointMaker;
using test::FakeDevice;

constexpr int kExtraBlocks = 4;

BlockLayout layout_with_extras() {
  return {.prefix = "blocks.{i}.",
          .weights = {{.name = "q", .shape = {3, 5}}},
          .extra_weights = {{.name = "injector.{i}.k", .shape = {20, 2}},
                            {.name = "norm.{i}.w", .shape = {7}, .dtype = WeightDType::kFloat32}},
          .extra_blocks = {1, 3}};
}

CheckpointMaker maker_with_extras() {
  CheckpointMaker maker;
  for (int i = 0; i < kExtraBlocks; ++i)
    maker.add("m.blocks." + std::to_string(i) + ".q", {3, 5}, static_cast<float>(100 * i));
  for (int i = 0; i < 2; ++i) {
    maker.add("m.injector." + std::to_string(i) + ".k", {20, 2}, static_cast<float>(1000 * i));
    maker.add("m.norm." + std::to_string(i) + ".w", {7}, static_cast<float>(1000 * i + 500));
  }
  return maker;
}

void expect_extras(const BlockLease& lease, int block) {
  const bool listed = block % 2 == 1;
  ASSERT_EQ(lease.weights().size(), listed ? 3u : 1u) << block;
  EXPECT_EQ(lease[0].as<float>()[14], static_cast<float>(100 * block + 14));
  if (!listed) return;
  const auto first = static_cast<float>(1000 * (block / 2));
  EXPECT_EQ(lease[1].shape(), (Shape{20, 2}));
  EXPECT_EQ(lease[1].as<float>()[39], first + 39);
  EXPECT_EQ(lease[2].as<float>()[6], first + 506);
}

std::vector<BlockId> twice_all_blocks() {
  std::vector<BlockId> schedule;
  for (int i = 0; i < 2 * kExtraBlocks; ++i) schedule.push_back({0, i % kExtraBlocks});
  return schedule;
}

TEST(BlockExtras, ComeWithTheirBlocksAndTakeMemoryOfThoseAlone) {
  // f32, in lines of 64 bytes: 15 x 4 -> 64; 40 x 4 -> 192, 7 x 4 -> 64.
  EXPECT_EQ(block_bytes(layout_with_extras(), DType::kF32, 0), 64u);
  EXPECT_EQ(block_bytes(layout_with_extras(), DType::kF32, 3), 320u);
  EXPECT_EQ(block_bytes(layout_with_extras(), DType::kF32), 320u);
  for (const ResidencyKind kind : {ResidencyKind::kResident, ResidencyKind::kStreamed}) {
    const CheckpointMaker maker = maker_with_extras();
    WeightReport report(maker.make(), "model");
    FakeDevice device;
    const WeightScope scope = WeightScope(report, device.target(DType::kF32)).child("m");
    const auto residency = make_residency({{scope, layout_with_extras(), kExtraBlocks}}, {.kind = kind});
    EXPECT_NO_THROW(report.check()) << "an extra weight was not asked for";
    EXPECT_EQ(residency->bytes(), kind == ResidencyKind::kResident ? 2 * (64u + 320u) : 2 * 320u);
    residency->set_schedule(twice_all_blocks());
    residency->preload({});
    EXPECT_EQ(device.held, residency->bytes());
    for (const BlockId id : twice_all_blocks()) expect_extras(residency->acquire(id), id.index);
  }
}

TEST(BlockExtras, AreDividedOverRanksWithTheirBlocks) {
  constexpr int kRanks = 3;
  const CheckpointMaker maker = maker_with_extras();
  const auto shards = std::make_shared<BlockShards>(kRanks, kExtraBlocks, kExtraBlocks);
  std::vector<std::unique_ptr<WeightReport>> reports;
  std::vector<std::unique_ptr<BlockResidency>> residencies;
  std::size_t shares = 0;
  for (int rank = 0; rank < kRanks; ++rank) {
    reports.push_back(std::make_unique<WeightReport>(maker.make(), "model"));
    const WeightScope scope = WeightScope(*reports.back(), WeightTarget{}).child("m");
    const BlockGroup group{scope, layout_with_extras(), kExtraBlocks, {shards, rank}};
    shares += share_bytes(group);
    residencies.push_back(make_residency({group}, {.kind = ResidencyKind::kStreamed}));
  }
  EXPECT_EQ(shares, 2 * (64u + 320u));
  for (const auto& residency : residencies) residency->preload({});
  std::vector<std::thread> threads;
  for (const auto& residency : residencies)
    threads.emplace_back([&residency] {
      residency->set_schedule(twice_all_blocks());
      for (const BlockId id : twice_all_blocks()) expect_extras(residency->acquire(id), id.index);
    });
  for (std::thread& thread : threads) thread.join();
}

TEST(BlockExtras, AreReadOnceForRanksThatReadTheSameBlocks) {
  const auto common = std::make_shared<CommonBlocks>(2, 2, cpu_allocator(), std::chrono::minutes(5));
  const CheckpointMaker maker = maker_with_extras();
  std::vector<std::unique_ptr<WeightReport>> reports;
  std::vector<std::unique_ptr<BlockResidency>> residencies;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 2; ++rank) {
    reports.push_back(std::make_unique<WeightReport>(maker.make(), "model"));
    const WeightScope scope = WeightScope(*reports.back(), WeightTarget{}).child("m");
    residencies.push_back(
        make_residency({{scope, layout_with_extras(), kExtraBlocks, {.rank = rank, .common = common}}},
                       {.kind = ResidencyKind::kResident}));
  }
  for (const auto& residency : residencies)
    threads.emplace_back([&residency] {
      residency->preload({});
      for (const BlockId id : twice_all_blocks()) expect_extras(residency->acquire(id), id.index);
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(common->filled(), kExtraBlocks);
}

TEST(BlockExtras, OneThatIsMissingIsNamedInFull) {
  CheckpointMaker maker;
  for (int i = 0; i < kExtraBlocks; ++i) maker.add("m.blocks." + std::to_string(i) + ".q", {3, 5}, 0.0f);
  maker.add("m.injector.0.k", {20, 2}, 0.0f);
  maker.add("m.norm.0.w", {7}, 0.0f);
  maker.add("m.norm.1.w", {7}, 0.0f);
  WeightReport report(maker.make(), "model");
  const WeightScope scope = WeightScope(report, WeightTarget{}).child("m");
  const auto residency = make_residency({{scope, layout_with_extras(), kExtraBlocks}}, {});
  test::expect_error(ErrorCode::kBadFile, "m.injector.1.k", [&] { report.check(); });
  test::expect_error(ErrorCode::kBadFile, "m.injector.1.k", [&] { residency->acquire({0, 3}); });
}

}  // namespace
}  // namespace wan
