// FiniteCheck: which op and layer it names, whatever an op calls its result.

#include "ops/finite_check.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <memory>
#include <string>

#include "backends/cpu/cpu_backend.h"
#include "ops/copy.h"
#include "ops/gated_residual.h"
#include "ops/linear.h"
#include "ops/patchify.h"
#include "support/expect_error.h"
#include "support/guarded.h"

namespace wan::test {
namespace {

class Checked : public ::testing::Test {
 protected:
  void expect_named(const char* op, const std::function<void()>& run) {
    ctx.enter("blocks.3.ffn");
    expect_error(ErrorCode::kInternal, std::string(op) + " in blocks.3.ffn is the first op", run);
  }
  static Tensor with_nan(const Shape& shape) {
    Tensor made(DType::kF32, shape);
    fill_random(made, 1);
    made.as<float>()[made.view().elements() - 1] = std::numeric_limits<float>::quiet_NaN();
    return made;
  }

  std::unique_ptr<Backend> backend = make_cpu_backend({.threads = 1});
  Workspace workspace{cpu_allocator()};
  SelfCommunicator communicator;
  FiniteCheck check;
  std::int64_t flops = 0;
  ExecContext ctx{.backend = *backend,
                  .workspace = workspace,
                  .communicator = communicator,
                  .check = &check,
                  .flops = &flops};
};

TEST_F(Checked, AFiniteResultPasses) {
  const Guarded x = random_tensor(DType::kF32, {3, 5}, 1);
  const Guarded weight = random_tensor(DType::kF32, {4, 5}, 2);
  const Guarded out(DType::kF32, {3, 4}, Layout::kPaddedRows);
  linear(ctx, {x, weight, {}, out});
  EXPECT_EQ(flops, 2 * 3 * 5 * 4) << "looking is not counted";
}

TEST_F(Checked, TheFirstOpIsNamed) {
  const Guarded x = random_tensor(DType::kF32, {3, 5}, 1);
  const Tensor weight = with_nan({4, 5});
  const Tensor out(DType::kF32, {3, 4});
  expect_named("linear", [&] { linear(ctx, {x, weight, {}, out}); });
}

TEST_F(Checked, RowsWithGapsAreLookedAt) {
  const Guarded out(DType::kF32, {3, 5}, Layout::kPaddedRows);
  expect_named("copy", [&] { copy(ctx, {with_nan({3, 5}), out}); });
}

TEST_F(Checked, ResultsOfOtherNamesAreLookedAt) {
  const Tensor x(DType::kF32, {3, 5});
  fill_random(x, 2);
  const Tensor y = with_nan({3, 5});
  expect_named("gated_residual", [&] { gated_residual(ctx, {x, y, {}, {}}); });
  const Tensor tokens(DType::kF32, {2, 4});
  expect_named("patchify", [&] {
    patchify(ctx, {.latent = with_nan({1, 2, 2, 2}), .patch = {1, 2, 2}, .tokens = tokens});
  });
}

TEST_F(Checked, WithoutACheckNothingIsLookedAt) {
  ctx.check = nullptr;
  const Tensor out(DType::kF32, {3, 5});
  EXPECT_NO_THROW(copy(ctx, {with_nan({3, 5}), out}));
}

}  // namespace
}  // namespace wan::test
