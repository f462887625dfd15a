// Blocks whose weights are packed: as small in memory as in the file, the same bytes whichever way they come.

#include "weights/packed_source.h"

#include <gtest/gtest.h>

#include <cstring>

#include "format/file_builder.h"
#include "tensor/unpack.h"
#include "unit/weights_fixture.h"
#include "weights/block_loader.h"
#include "weights/convert.h"

namespace wan {
namespace {

constexpr std::int64_t kMatrixRows = 5;
constexpr std::int64_t kMatrixColumns = 256;
constexpr int kPackedBlocks = 5;

/// Five blocks that hold their matrix in five ways, and a norm each.
class PackedWeightsTest : public testing::Test {
 protected:
  PackedWeightsTest() {
    std::uint32_t state = 1;
    for (char& byte : bytes_) {
      state = state * 1664525u + 1013904223u;
      byte = static_cast<char>((state >> 24) & 0xbb);  // no exponent is all ones
    }
    const auto scales = [](std::int64_t rows, std::int64_t columns, bool rotated) {
      auto made = std::make_shared<CodeScales>();
      made->rows = rows;
      made->columns = columns;
      made->rotated = rotated;
      const std::int64_t count = (kMatrixRows + rows - 1) / rows * ((kMatrixColumns + columns - 1) / columns);
      for (std::int64_t i = 0; i < count; ++i) made->values.push_back(0.3f + static_cast<float>(i));
      return made;
    };
    add(0, DType::kF8E4M3, scales(1, kMatrixColumns, false));
    add(1, DType::kQ4_K, nullptr);
    add(2, DType::kI8, scales(1, kMatrixColumns, true));
    add(3, DType::kF8E5M2, scales(2, 64, false));
    add(4, DType::kF32, nullptr);
    report_.emplace(Checkpoint::from_files({file_}, "packed"), "model");
  }

  void add(int block, DType dtype, std::shared_ptr<CodeScales> scales) {
    const std::string prefix = "blocks." + std::to_string(block) + ".";
    const std::size_t size = dtype_bytes(dtype, kMatrixRows * kMatrixColumns);
    const Shape shape{kMatrixRows, kMatrixColumns};
    // Not aligned, as a mapped file's need not be.
    file_.tensors.push_back({.name = prefix + "w.weight",
                             .dtype = dtype,
                             .shape = shape,
                             .strides = contiguous_strides(shape),
                             .storage = as_byte_span(bytes_).subspan(1, size),
                             .file = "packed",
                             .scales = std::move(scales)});
    file_.tensors.push_back({.name = prefix + "norm",
                             .dtype = DType::kF32,
                             .shape = {7},
                             .strides = {1},
                             .storage = as_byte_span(bytes_).subspan(0, 28),
                             .file = "packed"});
  }

  BlockGroup group() {
    const WeightScope scope(*report_, WeightTarget{});
    const BlockLayout layout{.prefix = "blocks.{i}.",
                             .weights = {{.name = "norm", .shape = {7}, .dtype = WeightDType::kFloat32},
                                         {.name = "w.weight", .shape = {kMatrixRows, kMatrixColumns}}}};
    return {scope, with_packed(layout, scope, kPackedBlocks), kPackedBlocks};
  }

  static std::vector<float> values_of(const TensorView& view) {
    std::vector<float> values(static_cast<std::size_t>(view.elements()));
    convert(view, TensorView(values.data(), DType::kF32, view.shape()));
    return values;
  }
  std::vector<float> expected(int block) const {
    const TensorEntry* entry = report_->checkpoint().find("blocks." + std::to_string(block) + ".w.weight");
    std::vector<float> values(static_cast<std::size_t>(entry->elements()));
    convert(*entry, TensorView(values.data(), DType::kF32, entry->shape));
    return values;
  }

  std::string bytes_ = std::string(1 + 4 * kMatrixRows * kMatrixColumns, '\0');
  CheckpointFile file_;
  std::optional<WeightReport> report_;
};

TEST_F(PackedWeightsTest, AreHeldInTheFormatOfTheirFile) {
  const BlockGroup held = group();
  const DType dtypes[] = {DType::kF8E4M3Scaled128, DType::kQ4_K, DType::kI8Rotated256, DType::kF8E5M2Scaled64,
                          DType::kF32};
  for (int block = 0; block < kPackedBlocks; ++block) {
    EXPECT_EQ(held.layout.dtype(block, 1, DType::kF32), dtypes[block]) << block;
    EXPECT_EQ(held.bytes_of(block),
              64 + (dtype_bytes(dtypes[block], kMatrixRows * kMatrixColumns) + 63) / 64 * 64)
        << block;
  }
  EXPECT_EQ(block_bytes(held.layout, DType::kF32), held.bytes_of(4));
}

TEST_F(PackedWeightsTest, HaveTheFilesValuesResidentAndStreamed) {
  for (const ResidencyKind kind : {ResidencyKind::kResident, ResidencyKind::kStreamed}) {
    const auto residency = make_residency({group()}, {.kind = kind});
    residency->preload({});
    for (const int block : {0, 1, 2, 3, 4, 2, 0}) {
      const BlockLease lease = residency->acquire({0, block});
      ASSERT_EQ(lease.weights().size(), 2u);
      EXPECT_EQ(values_of(lease[1]), expected(block)) << block;
    }
  }
}

TEST_F(PackedWeightsTest, ComeInRunsOfAnyLengthToTheSameBytes) {
  BlockLoader loader({group()}, 1, {});
  for (int block = 0; block < kPackedBlocks; ++block) {
    const std::size_t size = loader.bytes_of({0, block});
    std::vector<std::byte> whole(size);
    loader.load({0, block}, loader.views({0, block}, whole.data()));
    for (const int ranks : {2, 3, 7}) {
      std::vector<std::byte> parts(size);
      const auto shards = std::make_shared<BlockShards>(ranks, kPackedBlocks, kPackedBlocks);
      for (int rank = 0; rank < ranks; ++rank) {
        BlockGroup shared = group();
        shared.share = {shards, rank};
        const BlockLoader one({shared}, 1, {});
        const Range run = shards->run_of(size, rank);
        ReadAhead ahead;
        one.load_run({0, block}, run, parts.data() + run.begin, std::nullopt, ahead);
      }
      const std::vector<TensorView> views = loader.views({0, block}, whole.data());
      for (const TensorView& view : views)
        EXPECT_EQ(std::memcmp(view.data(), parts.data() + (view.data() - whole.data()), view.bytes()), 0)
            << block << " over " << ranks;
    }
  }
}

/// Adds its number in the weight to each value.
class CountedChange final : public WeightChange {
 public:
  void apply(std::int64_t first, std::span<float> values) const override {
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] += static_cast<float>(first) + static_cast<float>(i);
  }
};

TEST_F(PackedWeightsTest, AreUnpackedWhereTheyAreChangedWhenLoaded) {
  std::vector<std::vector<float>> changed;
  for (int block = 0; block < kPackedBlocks; ++block) {
    changed.push_back(expected(block));
    for (std::size_t i = 0; i < changed.back().size(); ++i) changed.back()[i] += static_cast<float>(i);
  }
  std::map<std::string, std::shared_ptr<const WeightChange>> changes;
  for (int block = 0; block < kPackedBlocks; ++block)
    changes["blocks." + std::to_string(block) + ".w.weight"] = std::make_shared<CountedChange>();
  const Checkpoint checkpoint = report_->checkpoint().changed(changes);
  report_.emplace(checkpoint, "model");
  BlockLoader whole({group()}, 1, {});
  for (int block = 0; block < kPackedBlocks; ++block) {
    const std::size_t size = whole.bytes_of({0, block});
    std::vector<std::byte> memory(size);
    const std::vector<TensorView> views = whole.views({0, block}, memory.data());
    ASSERT_EQ(views[1].dtype(), DType::kF32) << block;
    const auto shards = std::make_shared<BlockShards>(3, kPackedBlocks, kPackedBlocks);
    for (int rank = 0; rank < 3; ++rank) {
      BlockGroup shared = group();
      shared.share = {shards, rank};
      const BlockLoader one({shared}, 1, {});
      const Range run = shards->run_of(size, rank);
      ReadAhead ahead;
      one.load_run({0, block}, run, memory.data() + run.begin, std::nullopt, ahead);
    }
    EXPECT_EQ(values_of(views[1]), changed[static_cast<std::size_t>(block)]) << block << " in three runs";
    whole.load({0, block}, views);
    EXPECT_EQ(values_of(views[1]), changed[static_cast<std::size_t>(block)]) << block;
  }
}

TEST_F(PackedWeightsTest, AnyBytesOfThemCanBeRead) {
  for (int block = 0; block < 4; ++block) {
    const TensorEntry* entry = report_->checkpoint().find("blocks." + std::to_string(block) + ".w.weight");
    const DType packed = *packed_dtype_of(*entry);
    const std::size_t size = dtype_bytes(packed, kMatrixRows * kMatrixColumns);
    std::vector<std::byte> whole(size);
    read_packed(*entry, packed, 0, size, whole.data());
    for (std::size_t first = 0; first < size; first += 3)
      for (const std::size_t count : {std::size_t{1}, std::size_t{2}, std::size_t{5}, std::size_t{200}}) {
        const std::size_t n = std::min(count, size - first);
        std::vector<std::byte> part(n);
        read_packed(*entry, packed, first, n, part.data());
        ASSERT_EQ(std::memcmp(part.data(), whole.data() + first, n), 0) << block << " " << first << " " << n;
        const auto storage = packed_storage(*entry, packed, first, n);
        ASSERT_GE(storage.data(), entry->storage.data());
        ASSERT_LE(storage.data() + storage.size(), entry->storage.data() + entry->storage.size());
      }
  }
}

}  // namespace
}  // namespace wan
