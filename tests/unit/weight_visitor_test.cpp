#include "weights/weight_visitor.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "unit/weights_fixture.h"

namespace wan {
namespace {

using test::CheckpointMaker;
using test::expect_error;

struct Dimensions {
  std::int64_t width;
  std::int64_t rows;
};

struct Norm {
  TensorView scale;
  void visit(const WeightVisitor& at, std::int64_t width) {
    at.tensor("weight", scale, {width}, WeightDType::kFloat32);
  }
};

struct Layer {
  TensorView matrix;
  Norm norm;
  TensorView table;
  void visit(const WeightVisitor& at, const Dimensions& dimensions) {
    at.tensor("q.weight", matrix, {2, dimensions.width});
    norm.visit(at.child("norm"), dimensions.width);
    at.tensor("table", table, {dimensions.rows, dimensions.width}, WeightDType::kInFile);
  }
};

constexpr Dimensions kDimensions{.width = 3, .rows = 4};

CheckpointMaker layer_maker() {
  CheckpointMaker maker;
  maker.add("layer.q.weight", {2, 3}, 10);
  maker.add("layer.norm.weight", {3}, 20, DType::kBF16);
  maker.add("layer.table", {4, 3}, 30, DType::kBF16);
  return maker;
}

TEST(WeightVisitor, ListsNamesShapesAndDtypesInTheStructsOrder) {
  const std::vector<WeightSpec> specs = list_weights<Layer>(kDimensions);
  ASSERT_EQ(specs.size(), 3u);
  EXPECT_EQ(specs[0].name, "q.weight");
  EXPECT_EQ(specs[0].shape, (Shape{2, 3}));
  EXPECT_EQ(specs[0].dtype, WeightDType::kCompute);
  EXPECT_EQ(specs[1].name, "norm.weight");
  EXPECT_EQ(specs[1].shape, (Shape{3}));
  EXPECT_EQ(specs[1].dtype, WeightDType::kFloat32);
  EXPECT_EQ(specs[2].name, "table");
  EXPECT_EQ(specs[2].dtype, WeightDType::kInFile);
}

TEST(WeightVisitor, BindsViewsInTheSameOrder) {
  const Tensor matrix(DType::kF32, {2, 3});
  const Tensor scale(DType::kF32, {3});
  const Tensor table(DType::kF32, {4, 3});
  const TensorView views[] = {matrix, scale, table};
  const auto layer = bind_weights<Layer>({views}, kDimensions);
  EXPECT_EQ(layer.matrix.data(), matrix.view().data());
  EXPECT_EQ(layer.norm.scale.data(), scale.view().data());
  EXPECT_EQ(layer.table.data(), table.view().data());
}

TEST(WeightVisitor, BindsNothingElse) {
  const Tensor matrix(DType::kF32, {2, 3});
  const Tensor scale(DType::kF32, {3});
  const Tensor table(DType::kF32, {4, 3});
  const std::vector<TensorView> exchanged{scale, matrix, table};
  expect_error(ErrorCode::kInternal, "view 0 of 3 is not q.weight [2, 3]",
               [&] { bind_weights<Layer>({exchanged}, kDimensions); });
  const std::vector<TensorView> few{matrix, scale};
  expect_error(ErrorCode::kInternal, "view 2 of 2 is not table [4, 3]",
               [&] { bind_weights<Layer>({few}, kDimensions); });
  const std::vector<TensorView> many{matrix, scale, table, scale};
  expect_error(ErrorCode::kInternal, "4 views for 3 weights",
               [&] { bind_weights<Layer>({many}, kDimensions); });
}

TEST(WeightVisitor, LoadsAndOwnsAllButWhatStaysInTheFile) {
  const CheckpointMaker maker = layer_maker();
  WeightReport report(maker.make(), "model");
  const WeightScope scope(report, {.compute_dtype = DType::kBF16});
  LoadedWeights<Layer> loaded(scope.child("layer"), kDimensions);
  EXPECT_NO_THROW(report.check());
  const LoadedWeights<Layer> moved = std::move(loaded);
  EXPECT_EQ(to_float(moved->matrix.as<BF16>()[5]), 15.0f);
  EXPECT_EQ(moved->norm.scale.as<float>()[2], 22.0f);
  EXPECT_EQ(moved->table.dtype(), DType::kBF16) << "as in the file";
  EXPECT_EQ(moved->table.data(), report.checkpoint().find("layer.table")->view().data());
}

TEST(WeightVisitor, ReportsWhatIsMissing) {
  CheckpointMaker maker = layer_maker();
  WeightReport report(maker.make(), "model");
  const WeightScope scope = WeightScope::describing(report);
  const LoadedWeights<Layer> described(scope.child("layer"), Dimensions{.width = 3, .rows = 5});
  EXPECT_TRUE(described->matrix.empty());
  EXPECT_TRUE(described->table.empty());
  expect_error(ErrorCode::kBadFile, "layer.table: expected [5, 3], got [4, 3]", [&] { report.check(); });
}

}  // namespace
}  // namespace wan
