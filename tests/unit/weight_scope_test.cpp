#include "weights/weight_scope.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "support/expect_error.h"
#include "unit/weights_fixture.h"
#include "weights/naming_hint.h"

namespace wan {
namespace {

using test::CheckpointMaker;
using test::expect_error;
using test::FakeDevice;

class WeightScopeTest : public testing::Test {
 protected:
  WeightScopeTest() {
    maker_.add("head.weight", {4, 6}, 0, DType::kBF16);
    maker_.add("head.bias", {4}, 100);
    maker_.add("blocks.0.norm.weight", {6}, 1);
    maker_.add("blocks.1.norm.weight", {6}, 2);
    maker_.add("blocks.10.norm.weight", {6}, 3);
  }
  CheckpointMaker maker_;
};

TEST_F(WeightScopeTest, LoadsByPrefixInTheDtypeAskedFor) {
  WeightReport report(maker_.make(), "model");
  const WeightScope scope(report, {.compute_dtype = DType::kBF16});
  const WeightScope head = scope.child("head");
  EXPECT_EQ(head.prefix(), "head.");
  const Tensor weight = head.load("weight", {4, 6});
  EXPECT_EQ(weight.dtype(), DType::kBF16);
  EXPECT_EQ(to_float(weight.as<BF16>()[23]), 23.0f);
  const Tensor bias = head.load("bias", {4}, WeightDType::kFloat32);
  EXPECT_EQ(bias.dtype(), DType::kF32);
  EXPECT_EQ(bias.as<float>()[3], 103.0f);
  EXPECT_TRUE(head.has("weight"));
  EXPECT_FALSE(head.has("absent"));
  EXPECT_EQ(scope.child("blocks").child("0").shape_of("norm.weight"), std::optional<Shape>(Shape{6}));
  EXPECT_EQ(scope.shape_of("absent"), std::nullopt);
  EXPECT_EQ(scope.count_children("blocks"), 2);  // 0 and 1; 10 follows a gap
  EXPECT_EQ(scope.count_children("head"), 0);
}

TEST_F(WeightScopeTest, RequiresTheShapeOfATensor) {
  WeightReport report(maker_.make(), "model");
  const WeightScope head = WeightScope::describing(report).child("head");
  EXPECT_EQ(head.require_shape("weight", 2, "try another"), (Shape{4, 6}));
  expect_error(ErrorCode::kBadFile,
               "memory: expected a tensor head.weight of 3 dimensions, got [4, 6]; try another",
               [&] { head.require_shape("weight", 3, "try another"); });
  expect_error(ErrorCode::kBadFile,
               "memory: expected a tensor head.absent of 2 dimensions, got none; try another",
               [&] { head.require_shape("absent", 2, "try another"); });
}

TEST_F(WeightScopeTest, UploadsToADevice) {
  WeightReport report(maker_.make(), "model");
  FakeDevice device;
  int uploads = 0;
  const WeightScope scope(report, device.target(DType::kBF16, [&] { ++uploads; }));
  const Tensor bias = scope.load("head.bias", {4});
  EXPECT_EQ(bias.view().device(), device.device());
  EXPECT_EQ(to_float(bias.as<BF16>()[1]), 101.0f);
  EXPECT_EQ(uploads, 1);
  expect_error(ErrorCode::kInternal, "needs an upload", [&] { WeightScope(report, {.allocator = &device}); });
}

/// The first element of `loaded` that is not as expected; -1 where there is none.
std::int64_t first_other(const Tensor& loaded, const std::vector<std::uint16_t>& expected) {
  const auto* const bits = reinterpret_cast<const std::uint16_t*>(loaded.as<BF16>());
  if (std::memcmp(bits, expected.data(), loaded.bytes()) == 0) return -1;
  return std::mismatch(expected.begin(), expected.end(), bits).first - expected.begin();
}

TEST(WeightLoader, LoadsManyPiecesOnSeveralThreads) {
  // f32 to bf16: the first of six pieces, one of them cut short; columns of a wider matrix; and less than a piece.
  const Shape shape{5, (std::int64_t{11} << 20) / 5 + 3};
  CheckpointMaker maker;
  maker.add("large", shape, 0);
  maker.add("small", {3}, 7);
  const Checkpoint checkpoint = maker.make();
  const std::int64_t width = shape[1] / 2;
  TensorEntry right = *checkpoint.find("large");
  right.shape = {5, width};
  right.storage = right.storage.subspan(static_cast<std::size_t>(shape[1] - width) * sizeof(float));
  std::vector<std::uint16_t> all(static_cast<std::size_t>(shape.elements()));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = to_bf16(static_cast<float>(i)).bits;
  std::vector<std::uint16_t> columns;
  for (std::int64_t row = 1; row <= 5; ++row) {
    const auto end = all.begin() + row * shape[1];
    columns.insert(columns.end(), end - width, end);
  }
  FakeDevice device;
  for (const bool on_device : {false, true}) {
    for (const int threads : {0, 1, 3}) {
      std::atomic<int> uploads{0};
      WeightTarget target = on_device ? device.target(DType::kBF16, [&] { ++uploads; }) : WeightTarget{};
      target.threads = threads;
      const Tensor large(*target.allocator, DType::kBF16, shape);
      const Tensor half(*target.allocator, DType::kBF16, right.shape);
      const Tensor tail(*target.allocator, DType::kF32, {3});
      const WeightLoad loads[] = {
          {*checkpoint.find("large"), large}, {right, half}, {*checkpoint.find("small"), tail}};
      WeightLoader(target).load(loads);
      if (on_device) {
        EXPECT_EQ(uploads, 6 + 3 + 1);
      }
      EXPECT_EQ(first_other(large, all), -1);
      EXPECT_EQ(first_other(half, columns), -1);
      EXPECT_EQ(tail.as<float>()[2], 9.0f);
    }
  }
}

TEST(WeightLoader, ThrowsWhatAPieceThrewOnAnyThread) {
  const Shape shape{std::int64_t{8} << 20};
  CheckpointMaker maker;
  maker.add("large", shape, 0);
  const Checkpoint checkpoint = maker.make();
  FakeDevice device;
  for (const int threads : {1, 4}) {
    std::atomic<int> uploads{0};
    WeightTarget target = device.target(DType::kF32, [&] {
      const int upload = ++uploads;
      if (upload == 3) fail(ErrorCode::kDevice, "the bus is on fire");
      // Those of the other threads that had begun: long enough for a busy machine to have thrown.
      if (upload > 3) std::this_thread::sleep_for(std::chrono::milliseconds(300));
    });
    target.threads = threads;
    const Tensor there(device, DType::kF32, shape);
    const WeightLoad loads[] = {{*checkpoint.find("large"), there}};
    expect_error(ErrorCode::kDevice, "the bus is on fire", [&] { WeightLoader(target).load(loads); });
    EXPECT_LT(uploads, 8) << "none begins after one has failed";
  }
}

TEST_F(WeightScopeTest, OneErrorListsAllThatDoesNotFit) {
  maker_.add("count", {1}, 0, DType::kI64);
  WeightReport report(maker_.make(), "low-noise expert");
  const WeightScope scope(report, WeightTarget{});
  EXPECT_TRUE(scope.load("head.weight", {6, 4}).empty());
  EXPECT_TRUE(scope.load("head.gain", {3}).empty());
  EXPECT_TRUE(scope.load("count", {1}).empty());
  EXPECT_FALSE(scope.load("head.bias", {4}).empty());
  scope.child("blocks").child("1").load("norm.weight", {6});
  EXPECT_FALSE(report.clean());
  EXPECT_EQ(report.unused(), (std::vector<std::string>{"blocks.0.norm.weight", "blocks.10.norm.weight"}));
  for (const char* part : {"low-noise expert", "memory does not fit", "1 missing:\n    head.gain [3]",
                           "head.weight: expected [6, 4], got [4, 6]", "1 not floating-point:\n    count",
                           "2 unused:\n    'blocks.0.norm.weight'"})
    expect_error(ErrorCode::kBadFile, part, [&] { report.check(); });
}

TEST_F(WeightScopeTest, AFittingModelIsClean) {
  WeightReport report(maker_.make(), "model");
  const WeightScope scope = WeightScope::describing(report);
  EXPECT_TRUE(scope.load("head.weight", {4, 6}).empty());  // describes, loads nothing
  scope.load("head.bias", {4});
  for (const char* block : {"0", "1", "10"}) scope.child("blocks").child(block).load("norm.weight", {6});
  EXPECT_TRUE(report.clean());
  EXPECT_NO_THROW(report.check());
}

TEST_F(WeightScopeTest, ShowsTwentyNamesOfMany) {
  CheckpointMaker many;
  for (int i = 0; i < 50; ++i) many.add(std::string("w") + std::to_string(i), {1}, 0);
  const WeightReport report(many.make(), "model");
  expect_error(ErrorCode::kBadFile, "50 unused:", [&] { report.check(); });
  expect_error(ErrorCode::kBadFile, "and 30 more", [&] { report.check(); });
}

TEST(NamingHint, KnowsOtherProgramsNames) {
  const std::vector<std::string> missing{"blocks.0.self_attn.q.weight", "head.head.weight"};
  const auto hint = [&](const std::vector<std::string>& unused) { return naming_hint(missing, unused); };
  EXPECT_NE(
      hint({"model.diffusion_model.blocks.0.self_attn.q.weight", "model.diffusion_model.head.head.weight"})
          .find("'model.diffusion_model.'"),
      std::string::npos);
  EXPECT_NE(hint({"blocks.0.attn1.to_q.weight"}).find("diffusers"), std::string::npos);
  EXPECT_NE(hint({"blocks.0.self_attn.q.lora_A.weight"}).find("LoRA"), std::string::npos);
  EXPECT_NE(hint({"encoder.block.0.layer.0.SelfAttention.q.weight"}).find("transformers"), std::string::npos);
  EXPECT_EQ(hint({"something.else"}), "");
  EXPECT_EQ(naming_hint({}, std::vector<std::string>{"lora_A"}), "");
}

}  // namespace
}  // namespace wan
