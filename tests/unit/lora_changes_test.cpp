// LoRAs as changes of weights: any part of a weight gets its part, whatever is asked for; and beside packed weights they give what merging gives.

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "backends/cpu/cpu_backend.h"
#include "layouts/lora.h"
#include "media/safetensors_writer.h"
#include "nn/linear.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"
#include "weights/block_loader.h"
#include "weights/convert.h"
#include "weights/packed_source.h"
#include "weights/quantize.h"

namespace wan::test {
namespace {

constexpr std::int64_t kOut = 72, kIn = 256, kRank = 3;
constexpr const char* kModule = "blocks.0.ffn.0";
const std::string kWeightName = std::string(kModule) + ".weight";

/// Numbers of about `size`, of the same seed the same.
std::vector<float> numbers(std::int64_t count, std::uint32_t seed, float size) {
  std::vector<float> made;
  for (std::int64_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    made.push_back(size * (static_cast<float>(seed >> 8) / 8388608.0f - 1.0f));
  }
  return made;
}

/// A model of one matrix, in some format, and LoRAs of it.
class LoraChanges : public ::testing::Test {
 protected:
  Checkpoint model(DType dtype) {
    const std::vector<float> exact = numbers(kOut * kIn, 1, 0.05f);
    std::shared_ptr<CodeScales> scales;
    const Shape shape{kOut, kIn};
    storage_.assign(dtype_bytes(dtype, kOut * kIn), std::byte{});
    if (dtype == DType::kF32) {
      std::memcpy(storage_.data(), exact.data(), storage_.size());
    } else if (dtype == DType::kQ4_K) {  // any bytes are values; those of the scales' exponents are small
      for (std::size_t i = 0; i < storage_.size(); ++i)
        storage_[i] = static_cast<std::byte>(i % 144 < 4 ? (i % 2 == 0 ? 0x10 : 0x04) : i * 37 % 251);
    } else {
      const MatrixFormat format = dtype == DType::kQ8_0 ? MatrixFormat::kQ8_0 : MatrixFormat::kF8;
      if (format == MatrixFormat::kF8) {
        scales = std::make_shared<CodeScales>();
        scales->columns = kIn;
        scales->values.resize(kOut);
      }
      for (std::int64_t row = 0; row < kOut; ++row)
        quantize_row(format, exact.data() + row * kIn, kIn,
                     storage_.data() + static_cast<std::size_t>(row) * dtype_bytes(dtype, kIn),
                     scales ? &scales->values[static_cast<std::size_t>(row)] : nullptr);
    }
    CheckpointFile file;
    file.tensors.push_back({.name = kWeightName,
                            .dtype = dtype,
                            .shape = shape,
                            .strides = contiguous_strides(shape),
                            .storage = storage_,
                            .file = "model",
                            .scales = scales});
    return Checkpoint::from_files({file}, "model");
  }

  /// A file with a pair for the matrix, and further tensors.
  std::filesystem::path lora(std::uint32_t seed, std::int64_t rank,
                             const std::map<std::string, std::vector<float>>& more = {}) {
    std::vector<float> down = numbers(rank * kIn, seed, 0.1f), up = numbers(kOut * rank, seed + 99, 0.1f);
    std::vector<SafetensorsEntry> entries{{std::string(kModule) + ".lora_A.weight", {rank, kIn}, down},
                                          {std::string(kModule) + ".lora_B.weight", {kOut, rank}, up}};
    for (const auto& [name, values] : more)
      entries.push_back({name, {static_cast<std::int64_t>(values.size())}, values});
    const std::filesystem::path path = folder_ / (std::to_string(seed) + ".safetensors");
    write_safetensors(path, entries, {});
    return path;
  }

  static Checkpoint merged(const Checkpoint& model, const std::vector<LoraUse>& uses) {
    return merge_loras(model, uses, "transformer", false, false).transformer;
  }

  /// The weight with what the LoRAs add, in fp64.
  std::vector<double> expected(const Checkpoint& model, const std::vector<LoraUse>& uses) const {
    std::vector<float> values(kOut * kIn);
    convert(*model.find(kWeightName), TensorView(values.data(), DType::kF32, {kOut, kIn}));
    std::vector<double> sum(values.begin(), values.end());
    for (const LoraUse& use : uses) {
      const Checkpoint file = Checkpoint::open(use.file);
      const TensorEntry &down = *file.find(std::string(kModule) + ".lora_A.weight"),
                        &up = *file.find(std::string(kModule) + ".lora_B.weight");
      const auto rank = down.shape[0];
      const auto value = [](const TensorEntry& entry, std::int64_t at) {
        float one;
        std::memcpy(&one, entry.storage.data() + at * 4, 4);
        return static_cast<double>(one);
      };
      for (std::int64_t o = 0; o < kOut; ++o)
        for (std::int64_t i = 0; i < kIn; ++i)
          for (std::int64_t k = 0; k < rank; ++k)
            sum[static_cast<std::size_t>(o * kIn + i)] +=
                use.strength * value(up, o * rank + k) * value(down, k * kIn + i);
    }
    return sum;
  }

  TempFolder folder_;
  std::vector<std::byte> storage_;
};

TEST_F(LoraChanges, AnyPartOfAWeightGetsItsPart) {
  const Checkpoint plain = model(DType::kF32);
  const std::vector<LoraUse> uses{{.file = lora(5, kRank), .strength = 0.5},
                                  {.file = lora(6, 2), .strength = -1}};
  const std::vector<double> wanted = expected(plain, uses);
  const Checkpoint changed = merged(plain, uses);
  const TensorEntry& entry = *changed.find(kWeightName);
  std::vector<float> whole(kOut * kIn);
  convert_changed(entry, 0, TensorView(whole.data(), DType::kF32, {kOut * kIn}));
  for (std::size_t i = 0; i < whole.size(); ++i) ASSERT_NEAR(whole[i], wanted[i], 1e-6) << i;
  for (std::int64_t first = 0; first < kOut * kIn; first += 1013)
    for (const std::int64_t count : {1, 255, 256, 700}) {
      const std::int64_t n = std::min(count, kOut * kIn - first);
      std::vector<float> part(static_cast<std::size_t>(n));
      convert_changed(entry, first, TensorView(part.data(), DType::kF32, {n}));
      for (std::int64_t i = 0; i < n; ++i)
        ASSERT_EQ(part[static_cast<std::size_t>(i)], whole[static_cast<std::size_t>(first + i)])
            << first << " " << n;
    }
}

/// The weight as a product sees it, by way of a block's memory, whole or in the runs of several ranks.
std::vector<float> as_multiplied(const Checkpoint& model, DType compute, int ranks) {
  WeightReport report(model, "model");
  const WeightScope scope(report, {.compute_dtype = compute});
  const BlockLayout layout{.prefix = "blocks.{i}.",
                           .weights = {{.name = "ffn.0.weight", .shape = {kOut, kIn}}}};
  BlockGroup group{scope, with_packed(layout, scope, 1), 1};
  const auto shards = std::make_shared<BlockShards>(ranks, 1, 1);
  BlockLoader loader({group}, 1, {});
  const std::size_t size = loader.bytes_of({0, 0});
  std::vector<std::byte> memory(size);
  std::vector<TensorView> views = loader.views({0, 0}, memory.data());
  if (ranks == 1) {
    loader.load({0, 0}, views);
  } else {
    for (int rank = 0; rank < ranks; ++rank) {
      BlockGroup shared = group;
      shared.share = {shards, rank};
      const BlockLoader one({shared}, 1, {});
      const Range run = shards->run_of(size, rank);
      ReadAhead ahead;
      one.load_run({0, 0}, run, memory.data() + run.begin, std::nullopt, ahead);
    }
  }
  const std::vector<LowRankViews> additions = loader.additions({0, 0}, memory.data());
  const std::unique_ptr<Backend> backend = make_cpu_backend({.threads = 1});
  Backend& cpu = *backend;
  Workspace workspace{cpu.allocator()};
  SelfCommunicator communicator;
  ExecContext ctx{.backend = cpu, .workspace = workspace, .communicator = communicator, .unpacked = compute};
  const Workspace::Scope taken(workspace);
  const TensorView weight =
      is_packed(views[0].dtype())
          ? take_unpacked(ctx, views[0], additions.empty() ? LowRankViews() : additions[0])
          : views[0];
  std::vector<float> values(kOut * kIn);
  convert(weight, TensorView(values.data(), DType::kF32, {kOut, kIn}));
  return values;
}

TEST_F(LoraChanges, BesidePackedWeightsGiveWhatMergingGives) {
  const std::filesystem::path first = lora(5, kRank), second = lora(6, 9);
  const std::vector<std::vector<LoraUse>> cases{
      {{.file = first}},
      {{.file = first, .strength = 0.5}, {.file = second, .strength = -1.5}},
      {{.file = second, .strength = 0}}};
  for (const DType dtype : {DType::kF8E4M3, DType::kQ8_0, DType::kQ4_K})
    for (const DType compute : {DType::kF32, DType::kBF16})
      for (const std::vector<LoraUse>& uses : cases) {
        SCOPED_TRACE(std::string(dtype_name(dtype)) + " in " + dtype_name(compute));
        const Checkpoint plain = model(dtype);
        const Checkpoint changed = merged(plain, uses);
        EXPECT_TRUE(packed_dtype_of(*changed.find(kWeightName)).has_value());
        const std::vector<double> exact = expected(plain, uses);
        const std::vector<float> beside = as_multiplied(changed, compute, 1);
        double error = 0, square = 0, change = 0;
        const std::vector<double> before = expected(plain, {});
        for (std::size_t i = 0; i < exact.size(); ++i) {
          double merged_value = exact[i];
          if (compute == DType::kBF16) merged_value = to_float(to_bf16(static_cast<float>(merged_value)));
          error += std::pow(beside[i] - merged_value, 2);
          square += merged_value * merged_value;
          change += std::pow(exact[i] - before[i], 2);
        }
        // In bf16 another order of sums turns a last bit here and there.
        EXPECT_LT(std::sqrt(error / square), compute == DType::kF32 ? 1e-6 : 1e-4);
        EXPECT_EQ(std::sqrt(change / square) > 0.05, uses[0].strength != 0);
        for (const int ranks : {2, 3}) EXPECT_EQ(as_multiplied(changed, compute, ranks), beside) << ranks;
      }
}

TEST_F(LoraChanges, WhatIsNoPairIsMergedIntoThePackedWeight) {
  const Checkpoint plain = model(DType::kQ8_0);
  std::vector<float> difference = numbers(kOut * kIn, 8, 0.02f);
  const std::filesystem::path path = folder_ / "diff.safetensors";
  write_safetensors(
      path, std::vector<SafetensorsEntry>{{std::string(kModule) + ".diff", {kOut, kIn}, difference}}, {});
  const Checkpoint changed = merged(plain, {{.file = path, .strength = 2}});
  EXPECT_FALSE(packed_dtype_of(*changed.find(kWeightName)).has_value());
  std::vector<double> exact = expected(plain, {});
  const std::vector<float> values = as_multiplied(changed, DType::kF32, 1);
  for (std::size_t i = 0; i < exact.size(); ++i)
    ASSERT_NEAR(values[i], exact[i] + 2 * static_cast<double>(difference[i]), 1e-6) << i;
}

TEST_F(LoraChanges, AModelsOwnIsWholeOrRefused) {
  const Checkpoint plain = model(DType::kF32);
  const auto refuse = [&](const char* words, const std::filesystem::path& file) {
    expect_error(ErrorCode::kBadFile, words,
                 [&] { merged(plain, {{.file = file, .strength = 1, .complete = true}}); });
  };
  EXPECT_NE(merged(plain, {{.file = lora(5, kRank), .complete = true}}).find(kWeightName)->change, nullptr);
  refuse("belong to no weight of the blocks, such as 'blocks.1.ffn.0.lora_A.weight'",
         lora(5, kRank, {{"blocks.1.ffn.0.lora_A.weight", {1.0f}}}));
  const std::filesystem::path none = folder_ / "none.safetensors";
  const std::vector<float> one{1.0f};
  write_safetensors(none, std::vector<SafetensorsEntry>{{"blocks.1.ffn.0.lora_A.weight", {1, 1}, one}}, {});
  refuse("it has 0 of 1 pairs of matrices, and none for blocks.0.ffn.0;", none);
}

}  // namespace
}  // namespace wan::test
