// Blocks that ranks divide among themselves: what every rank gets of them, what it reads for that, and when their memory goes.

#include "weights/block_shards.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <thread>

#include "format/file_builder.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"
#include "tensor/allocation_count.h"
#include "unit/weights_fixture.h"
#include "weights/block_residency.h"

namespace wan {
namespace {

constexpr int kLayers = 5;
constexpr int kTextLayers = 2;

/// A rank's device, in host memory.
class RankDevice final : public Allocator {
 public:
  explicit RankDevice(int index) : index_(index) {}
  Device device() const override { return {DeviceKind::kCuda, index_}; }
  std::byte* allocate(std::size_t bytes) override {
    count.add(bytes);
    return cpu_allocator().allocate(bytes);
  }
  void release(std::byte* data, std::size_t bytes) noexcept override {
    if (data != nullptr) {
      count.remove(bytes);
      std::memset(data, 0xff, bytes);  // what copies from it now gets NaN
    }
    cpu_allocator().release(data, bytes);
  }
  WeightTarget target(DType compute) {
    return {.allocator = this,
            .compute_dtype = compute,
            .upload = [this](const UploadSource& source, const TensorView& device) {
              uploaded += device.elements();
              source(device.data(), 0, device.bytes());
            }};
  }
  AllocationCount count;
  std::atomic<std::int64_t> uploaded{0};  // elements from the checkpoint
  int copies = 0;

 private:
  int index_;
};

BlockLayout transformer_layout() {
  return {.prefix = "blocks.{i}.",
          .weights = {{.name = "q.weight", .shape = {13, 11}},
                      {.name = "norm.weight", .shape = {7}, .dtype = WeightDType::kFloat32},
                      {.name = "o.weight", .shape = {3, 41}}}};
}

BlockLayout short_layout() {
  return {.prefix = "layer.{i}.", .weights = {{.name = "w", .shape = {3}}}};
}

/// Of all blocks: transformers' and the text encoder's.
constexpr std::int64_t kElements = kLayers * (13 * 11 + 7 + 3 * 41) + kTextLayers * 3;

class BlockShardsTest : public testing::TestWithParam<int> {
 protected:
  BlockShardsTest() {
    for (int i = 0; i < kLayers; ++i) {
      const std::string prefix = "blocks." + std::to_string(i) + ".";
      const auto first = static_cast<float>(16 * i);
      maker_.add(prefix + "q.weight", {13, 11}, first, DType::kBF16);
      maker_.add(prefix + "norm.weight", {7}, first + 1);
      maker_.add(prefix + "o.weight", {3, 41}, first + 2);
    }
    for (int i = 0; i < kTextLayers; ++i)
      maker_.add("layer." + std::to_string(i) + ".w", {3}, static_cast<float>(64 * i));
  }

  struct Rank {
    std::unique_ptr<WeightReport> report;
    std::unique_ptr<RankDevice> device;
    std::vector<BlockGroup> groups;
    ResidencyOptions options;
    std::unique_ptr<BlockResidency> residency;
  };
  /// What ranks hold goes before the first device does.
  struct Ranks : std::vector<Rank> {
    Ranks() = default;
    Ranks(Ranks&&) = default;
    Ranks& operator=(Ranks&&) = delete;
    ~Ranks() {
      for (Rank& rank : *this) {
        rank.residency.reset();
        rank.groups.clear();
      }
    }
  };

  /// Of the transformer's blocks so many are divided, and the text encoder's where `text` is.
  Ranks make_ranks(int ranks, bool keep, DType compute = DType::kF32, int divided = kLayers,
                   bool text = true) const {
    const auto transformer = std::make_shared<BlockShards>(ranks, kLayers, divided);
    const auto encoder = text ? std::make_shared<BlockShards>(ranks, kTextLayers, kTextLayers) : nullptr;
    Ranks made;
    for (int rank = 0; rank < ranks; ++rank) {
      Rank& one = made.emplace_back();
      one.report = std::make_unique<WeightReport>(maker_.make(), "model");
      one.device = std::make_unique<RankDevice>(rank);
      const WeightScope scope(*one.report, one.device->target(compute));
      one.groups = {{scope, transformer_layout(), kLayers, {transformer, rank}},
                    {scope, short_layout(), kTextLayers, {encoder, rank}}};
      one.options = {.kind = ResidencyKind::kStreamed, .keep = keep};
      one.options.copy = [device = one.device.get()](const TensorView& from, const TensorView& to) {
        EXPECT_EQ(to.device(), device->device());
        ++device->copies;
        std::memcpy(to.data(), from.data(), from.bytes());
      };
      one.residency = make_residency(one.groups, one.options);
    }
    return made;
  }

  /// Ranks that read the transformer's blocks once for all of them; the text encoder's each for itself.
  Ranks make_ranks_that_share(int ranks, const ResidencyOptions& options,
                              const std::shared_ptr<CommonBlocks>& common) const {
    Ranks made = make_ranks(ranks, options.keep, DType::kF32, /*divided=*/0, /*text=*/false);
    for (Rank& rank : made) {
      rank.groups[0].share = {.rank = rank.groups[0].share.rank, .common = common};
      const BlockCopy copy = rank.options.copy;
      rank.options = options;
      rank.options.copy = copy;
      rank.residency = make_residency(rank.groups, rank.options);
    }
    return made;
  }

  static std::vector<BlockId> schedule(int passes) {
    std::vector<BlockId> ids;
    for (int i = 0; i < kTextLayers; ++i) ids.push_back({1, i});
    for (int pass = 0; pass < passes; ++pass)
      for (int i = 0; i < kLayers; ++i) ids.push_back({0, i});
    return ids;
  }

  /// Against the checkpoint's values.
  static void expect_block(const BlockLease& lease, BlockId id) {
    const auto expect_from = [&](const TensorView& weight, float first) {
      for (std::int64_t i = 0; i < weight.elements(); ++i) {
        const float expected = first + static_cast<float>(i);
        if (weight.dtype() == DType::kF32)
          ASSERT_EQ(weight.as<float>()[i], expected) << id.group << " " << id.index;
        else
          ASSERT_EQ(to_float(weight.as<BF16>()[i]), to_float(to_bf16(expected)))
              << id.group << " " << id.index;
      }
    };
    if (id.group == 1) return expect_from(lease[0], static_cast<float>(64 * id.index));
    const auto first = static_cast<float>(16 * id.index);
    expect_from(lease[0], first);
    expect_from(lease[1], first + 1);
    expect_from(lease[2], first + 2);
    EXPECT_EQ(lease[0].shape(), (Shape{13, 11}));
  }

  static std::int64_t uploaded(const Ranks& ranks) {
    std::int64_t sum = 0;
    for (const Rank& rank : ranks) sum += rank.device->uploaded;
    return sum;
  }
  static std::int64_t held(const Ranks& ranks) {
    std::int64_t sum = 0;
    for (const Rank& rank : ranks) sum += rank.device->count.now();
    return sum;
  }

  test::CheckpointMaker maker_;
};

TEST_P(BlockShardsTest, EveryRankHasWholeBlocksAndAnElementIsReadOnce) {
  const int ranks = GetParam();
  for (const DType compute : {DType::kF32, DType::kBF16}) {
    Ranks all = make_ranks(ranks, /*keep=*/true, compute);
    for (Rank& rank : all) rank.residency->preload({});
    EXPECT_EQ(uploaded(all), kElements);
    std::vector<std::thread> threads;
    for (Rank& rank : all)
      threads.emplace_back([&rank] {
        rank.residency->set_schedule(schedule(3));
        for (const BlockId id : schedule(3)) expect_block(rank.residency->acquire(id), id);
      });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(uploaded(all), kElements) << "after that nobody reads the checkpoint";
    for (const Rank& rank : all) EXPECT_GT(rank.device->copies, 0);
  }
}

TEST_P(BlockShardsTest, TakesAnEqualPartAndItsPlaces) {
  const int ranks = GetParam();
  Ranks all = make_ranks(ranks, /*keep=*/true);
  const std::size_t one = block_bytes(transformer_layout(), DType::kF32);
  const std::size_t text = block_bytes(short_layout(), DType::kF32);
  std::size_t shares = 0;
  for (Rank& rank : all) {
    std::size_t last = 0;
    rank.residency->preload([&](std::size_t done, std::size_t total) {
      EXPECT_GE(done, last);
      EXPECT_EQ(total, rank.residency->bytes());
      last = done;
    });
    EXPECT_EQ(last, rank.residency->bytes());
    EXPECT_EQ(rank.residency->bytes(), residency_bytes(rank.groups, rank.options));
    EXPECT_EQ(rank.device->count.now(), static_cast<std::int64_t>(rank.residency->bytes()));
    const std::size_t own = share_bytes(rank.groups[0]) + share_bytes(rank.groups[1]);
    EXPECT_EQ(rank.residency->bytes(), own + 2 * one);
    EXPECT_LE(share_bytes(rank.groups[0]), kLayers * (one / static_cast<std::size_t>(ranks) + 64));
    shares += own;
  }
  EXPECT_EQ(shares, kLayers * one + kTextLayers * text);
}

TEST_P(BlockShardsTest, WhatNoRankNeedsAnyMoreGoes) {
  const int ranks = GetParam();
  Ranks all = make_ranks(ranks, /*keep=*/false);
  for (Rank& rank : all) rank.residency->preload({});
  const std::int64_t before = held(all);
  for (Rank& rank : all) rank.residency->set_schedule(schedule(2));
  EXPECT_EQ(held(all), before);
  const auto use = [](Rank& rank, BlockId id) { expect_block(rank.residency->acquire(id), id); };
  const auto text = static_cast<std::int64_t>(kTextLayers * block_bytes(short_layout(), DType::kF32));
  for (int rank = 0; rank < ranks; ++rank) {
    EXPECT_EQ(held(all), before) << "rank " << rank << " has not encoded its prompt";
    for (int i = 0; i < kTextLayers; ++i) use(all[static_cast<std::size_t>(rank)], {1, i});
  }
  EXPECT_EQ(held(all), before - text);
  for (int pass = 0; pass < 2; ++pass)
    for (int i = 0; i < kLayers; ++i)
      for (Rank& rank : all) use(rank, {0, i});
  EXPECT_EQ(held(all), 0);
  EXPECT_EQ(uploaded(all), kElements);
  // What is acquired again is loaded again.
  for (Rank& rank : all) use(rank, {0, 1});
  EXPECT_GT(uploaded(all), kElements);
}

TEST_P(BlockShardsTest, ARankThatEndsLeavesTheOthersItsPart) {
  const int ranks = GetParam();
  Ranks all = make_ranks(ranks, /*keep=*/false);
  for (Rank& rank : all) rank.residency->preload({});
  all.front().residency->set_schedule({});
  all.front().residency.reset();
  for (std::size_t i = 1; i < all.size(); ++i) {
    all[i].residency->set_schedule(schedule(1));
    for (const BlockId id : schedule(1)) expect_block(all[i].residency->acquire(id), id);
  }
  EXPECT_EQ(uploaded(all), kElements);
  EXPECT_EQ(all.front().device->count.now(), 0);
}

TEST_P(BlockShardsTest, WhatIsNotDividedComesFromTheCheckpoint) {
  constexpr int kDivided = 2;
  constexpr int kPasses = 3;
  const int ranks = GetParam();
  Ranks all = make_ranks(ranks, /*keep=*/false, DType::kF32, kDivided, /*text=*/false);
  constexpr std::int64_t kLayer = 13 * 11 + 7 + 3 * 41;
  for (Rank& rank : all) rank.residency->preload({});
  EXPECT_EQ(uploaded(all), kDivided * kLayer);
  for (Rank& rank : all) rank.residency->set_schedule(schedule(kPasses));
  for (const BlockId id : schedule(kPasses))
    for (Rank& rank : all) expect_block(rank.residency->acquire(id), id);
  EXPECT_GE(uploaded(all), kDivided * kLayer + ranks * (kLayers - kDivided) * kLayer);
  EXPECT_LE(uploaded(all),
            kDivided * kLayer + ranks * (kPasses * (kLayers - kDivided) * kLayer + kTextLayers * 3));
  EXPECT_EQ(held(all), 0);
}

TEST_P(BlockShardsTest, WithoutARanksPartBlocksComeFromTheCheckpoint) {
  const int ranks = GetParam();
  Ranks all = make_ranks(ranks, /*keep=*/true);
  for (std::size_t i = 1; i < all.size(); ++i) all[i].residency->preload({});  // all but the first
  Rank& last = all.back();
  last.residency->set_schedule(schedule(1));
  for (const BlockId id : schedule(1)) expect_block(last.residency->acquire(id), id);
  EXPECT_EQ(last.device->copies, 0);
}

TEST_P(BlockShardsTest, WhatIsStreamedIsReadOnceForAllRanks) {
  constexpr int kPasses = 4;
  const int ranks = GetParam();
  RankDevice host(9);
  for (const bool keep : {false, true}) {
    const auto common = std::make_shared<CommonBlocks>(ranks, 3, host, std::chrono::minutes(5));
    {
      Ranks all = make_ranks_that_share(ranks, {.kind = ResidencyKind::kStreamed, .keep = keep}, common);
      for (Rank& rank : all) rank.residency->set_schedule(schedule(kPasses));
      for (const BlockId id : schedule(kPasses))
        for (Rank& rank : all) expect_block(rank.residency->acquire(id), id);
      EXPECT_EQ(common->filled(), kPasses * kLayers);
      EXPECT_EQ(uploaded(all), ranks * kTextLayers * 3) << "nothing else came from the checkpoint";
      EXPECT_LE(host.count.now(),
                static_cast<std::int64_t>(3 * block_bytes(transformer_layout(), DType::kF32)));
    }
    const auto kept = std::make_shared<CommonBlocks>(ranks, 3, host, std::chrono::minutes(5));
    Ranks all = make_ranks_that_share(ranks, {.kind = ResidencyKind::kResident, .keep = keep}, kept);
    std::vector<std::thread> threads;
    for (Rank& rank : all) threads.emplace_back([&] { rank.residency->preload({}); });
    for (std::thread& thread : threads) thread.join();
    for (Rank& rank : all)
      for (const BlockId id : schedule(1)) expect_block(rank.residency->acquire(id), id);
    EXPECT_EQ(kept->filled(), kLayers);
  }
  EXPECT_EQ(host.count.now(), 0);
}

TEST_P(BlockShardsTest, ARankThatStopsHoldsNobodyWhoSharesItsReading) {
  const int ranks = GetParam();
  if (ranks == 1) return;
  RankDevice host(9);
  const auto common = std::make_shared<CommonBlocks>(ranks, 2, host, std::chrono::milliseconds(20));
  Ranks all = make_ranks_that_share(ranks, {.kind = ResidencyKind::kStreamed}, common);
  const auto start = std::chrono::steady_clock::now();
  // The first rank's device has stopped; later it goes.
  for (std::size_t i = 1; i < all.size(); ++i) all[i].residency->set_schedule(schedule(2));
  for (const BlockId id : schedule(1))
    for (std::size_t i = 1; i < all.size(); ++i) expect_block(all[i].residency->acquire(id), id);
  all.front().residency.reset();
  const std::int64_t before = common->filled();
  for (int i = 0; i < kLayers; ++i)
    for (std::size_t rank = 1; rank < all.size(); ++rank)
      expect_block(all[rank].residency->acquire({0, i}), {0, i});
  EXPECT_LE(common->filled() - before, kLayers);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

TEST(CommonBlocks, WhatFailsToBeReadFailsForEachThatWantsIt) {
  CommonBlocks common(2, 1, cpu_allocator());
  const auto fails = [](std::byte*) { fail(ErrorCode::kBadFile, "the file is gone"); };
  const auto nothing = [](std::byte*) {};
  for (int rank = 0; rank < 2; ++rank)
    test::expect_error(ErrorCode::kBadFile, "the file is gone", [&] {
      common.take(rank, {0, 1}, 64, fails, nothing);
    });
  EXPECT_EQ(common.filled(), 0);
  common.take(0, {0, 1}, 64, nothing, nothing);
  test::expect_error(ErrorCode::kDevice, "the copy failed", [&] {
    common.take(1, {0, 1}, 64, fails, [](std::byte*) { fail(ErrorCode::kDevice, "the copy failed"); });
  });
  common.take(1, {0, 1}, 64, fails, nothing);
  EXPECT_EQ(common.filled(), 1);
}

INSTANTIATE_TEST_SUITE_P(Ranks, BlockShardsTest, testing::Values(1, 2, 3, 4, 7));

TEST(BlockShards, AreSpreadEvenly) {
  const BlockShards shards(2, 10, 3);
  std::string divided;
  for (int block = 0; block < 10; ++block) divided += shards.divides(block) ? 'x' : '.';
  EXPECT_EQ(divided, "...x..x..x");
  EXPECT_EQ(shards.run_of(192, 0), (Range{0, 128}));
  EXPECT_EQ(shards.run_of(192, 1), (Range{128, 192}));
}

/// Residencies of two ranks that divide the one block, of one weight of 8 x 12, of a checkpoint.
class TwoRanks {
 public:
  explicit TwoRanks(const Checkpoint& checkpoint) {
    const auto shards = std::make_shared<BlockShards>(2, 1, 1);
    const BlockLayout layout{.prefix = "blocks.{i}.", .weights = {{.name = "w", .shape = {8, 12}}}};
    for (int rank = 0; rank < 2; ++rank) {
      reports_.push_back(std::make_unique<WeightReport>(checkpoint, "model"));
      ranks_.push_back(make_residency({{WeightScope(*reports_.back(), {}), layout, 1, {shards, rank}}},
                                      {.kind = ResidencyKind::kStreamed}));
    }
  }
  BlockResidency& operator[](std::size_t rank) { return *ranks_[rank]; }

 private:
  std::vector<std::unique_ptr<WeightReport>> reports_;
  std::vector<std::unique_ptr<BlockResidency>> ranks_;
};

TEST(BlockShards, OfATransposedTensor) {
  std::vector<float> values(96);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  CheckpointFile file;
  file.tensors.push_back({.name = "blocks.0.w",
                          .dtype = DType::kF32,
                          .shape = {8, 12},
                          .strides = {1, 8},
                          .storage = std::as_bytes(std::span<const float>(values)),
                          .file = "memory"});
  TwoRanks ranks(Checkpoint::from_files({std::move(file)}, "memory"));
  ranks[0].preload({});
  ranks[1].preload({});
  const BlockLease lease = ranks[1].acquire({0, 0});
  for (int row = 0; row < 8; ++row)
    for (int column = 0; column < 12; ++column)
      EXPECT_EQ(lease[0].as<float>()[row * 12 + column], static_cast<float>(column * 8 + row));
}

TEST(BlockShards, OfAFileThatIsCutShortAreRefused) {
  const test::TempFolder folder;
  const std::filesystem::path path = write_test_file(
      folder / "cut.safetensors",
      safetensors_file(R"({"blocks.0.w":{"dtype":"F32","shape":[8,12],"data_offsets":[0,384]}})",
                       std::string(384, '\0')));
  TwoRanks ranks(Checkpoint::open(path));
  ranks[0].preload({});
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 4);
  test::expect_error(ErrorCode::kBadFile, "cut short while it was read", [&] { ranks[1].preload({}); });
  test::expect_error(ErrorCode::kBadFile, "cut short while it was read", [&] { ranks[0].acquire({0, 0}); });
}

}  // namespace
}  // namespace wan
