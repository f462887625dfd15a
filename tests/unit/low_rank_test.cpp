// What a LoRA adds to weights: any part of a weight, in every spelling; and files that are not for the model.

#include <gtest/gtest.h>

#include <map>

#include "media/safetensors_writer.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"
#include "weights/low_rank.h"
#include "weights/weight_loader.h"

namespace wan::test {
namespace {

constexpr std::int64_t kOut = 7, kIn = 5, kRank = 3;

Tensor matrix(std::int64_t rows, std::int64_t columns, float first) {
  Tensor made(DType::kF32, {rows, columns});
  for (std::int64_t i = 0; i < made.elements(); ++i)
    made.as<float>()[i] = first + 0.25f * static_cast<float>(i % 11) - 0.5f * static_cast<float>(i % 3);
  return made;
}

/// Two blocks of one matrix and one vector.
BlockLayout layout() {
  return {
      .prefix = "blocks.{i}.",
      .weights = {{.name = "ffn.0.weight", .shape = {kOut, kIn}}, {.name = "ffn.0.bias", .shape = {kOut}}}};
}

class LowRank : public ::testing::Test {
 protected:
  LowRank() {
    for (const char* const block : {"blocks.0.ffn.0", "blocks.1.ffn.0"}) {
      tensors_[std::string(block) + ".lora_A.weight"] = matrix(kRank, kIn, 1.0f);
      tensors_[std::string(block) + ".lora_B.weight"] = matrix(kOut, kRank, -2.0f);
    }
  }
  LowRankSums load() {
    std::vector<SafetensorsEntry> entries;
    for (const auto& [name, tensor] : tensors_) {
      const auto extents = tensor.shape().extents();
      entries.push_back({name,
                         {extents.begin(), extents.end()},
                         {tensor.as<float>(), static_cast<std::size_t>(tensor.elements())}});
    }
    write_safetensors(path_, entries, {});
    return {path_, layout(), 2};
  }
  void rename(const std::string& from, const std::string& to) {
    auto node = tensors_.extract(from);
    node.key() = to;
    tensors_.insert(std::move(node));
  }

  std::map<std::string, Tensor> tensors_;
  TempFolder folder_;
  std::filesystem::path path_ = folder_ / "lora.safetensors";
};

Tensor product_of(const Tensor& up, const Tensor& down) {
  Tensor product(DType::kF32, {kOut, kIn});
  for (std::int64_t o = 0; o < kOut; ++o)
    for (std::int64_t i = 0; i < kIn; ++i) {
      float sum = 0;
      for (std::int64_t k = 0; k < kRank; ++k)
        sum += up.as<float>()[o * kRank + k] * down.as<float>()[k * kIn + i];
      product.as<float>()[o * kIn + i] = sum;
    }
  return product;
}

TEST_F(LowRank, AnyPartOfAWeightGetsItsPartOfTheSum) {
  const Tensor expected =
      product_of(tensors_.at("blocks.0.ffn.0.lora_B.weight"), tensors_.at("blocks.0.ffn.0.lora_A.weight"));
  const LowRankSums sums = load();
  const LowRankSum* const sum = sums.find("blocks.0.ffn.0.weight");
  ASSERT_NE(sum, nullptr);
  EXPECT_EQ(sums.find("blocks.0.ffn.0.bias"), nullptr);
  for (std::int64_t first = 0; first < kOut * kIn; ++first)
    for (std::int64_t last = first + 1; last <= kOut * kIn; ++last) {
      std::vector<float> values(static_cast<std::size_t>(last - first), 1.0f);
      add_low_rank(*sum, first, values);
      for (std::int64_t i = first; i < last; ++i)
        ASSERT_NEAR(values[static_cast<std::size_t>(i - first)], 1.0f + expected.as<float>()[i], 1e-5)
            << first << " to " << last;
    }
}

TEST_F(LowRank, ALoaderAddsItBeforeItRounds) {
  const Tensor product =
      product_of(tensors_.at("blocks.1.ffn.0.lora_B.weight"), tensors_.at("blocks.1.ffn.0.lora_A.weight"));
  const LowRankSums sums = load();
  const Tensor weight = matrix(kOut, kIn, 0.125f);
  const TensorEntry entry{.name = "w",
                          .dtype = DType::kF32,
                          .shape = weight.shape(),
                          .strides = contiguous_strides(weight.shape()),
                          .storage = {weight.view().data(), weight.bytes()},
                          .file = "none"};
  const WeightLoader loader({.threads = 1});
  const Tensor made(DType::kF32, {kOut * kIn - 4});
  // The elements from 4 on, as a rank's share of a block may have them.
  const WeightLoad load{.entry = entry,
                        .destination = made,
                        .first = 4,
                        .sum = sums.find("blocks.1.ffn.0.weight"),
                        .sum_first = 4};
  loader.load({&load, 1});
  for (std::int64_t i = 0; i < made.elements(); ++i)
    ASSERT_NEAR(made.as<float>()[i], weight.as<float>()[i + 4] + product.as<float>()[i + 4], 1e-5);
}

TEST_F(LowRank, OtherSpellingsAreTheSame) {
  rename("blocks.0.ffn.0.lora_A.weight", "diffusion_model.blocks.0.ffn.0.lora_A.default.weight");
  rename("blocks.1.ffn.0.lora_B.weight", "base_model.model.blocks.1.ffn.0.lora_B.weight");
  EXPECT_NE(load().find("blocks.0.ffn.0.weight"), nullptr);
}

TEST_F(LowRank, FilesThatAreNotForTheModelAreRefused) {
  const auto refuse = [&](const char* words) { expect_error(ErrorCode::kBadFile, words, [&] { load(); }); };
  Tensor kept = std::move(tensors_.at("blocks.1.ffn.0.lora_B.weight"));
  tensors_.erase("blocks.1.ffn.0.lora_B.weight");
  refuse("it has 1 of 2 pairs of matrices, and none for blocks.1.ffn.0;");
  tensors_["blocks.1.ffn.0.lora_B.weight"] = matrix(kOut, kRank + 1, 0.0f);
  refuse("of blocks.1.ffn.0 it has [7, 4] and [3, 5], which make no [7, 5]");
  tensors_["blocks.1.ffn.0.lora_B.weight"] = std::move(kept);
  tensors_["blocks.2.ffn.0.lora_A.weight"] = matrix(kRank, kIn, 0.0f);
  refuse("it has 1 tensors that belong to no weight of the blocks, such as 'blocks.2.ffn.0.lora_A.weight'");
}

}  // namespace
}  // namespace wan::test
