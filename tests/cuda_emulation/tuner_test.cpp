// The choice among algorithms: by time, among those that give the same bits.

#include "backends/cuda/tuner.h"

#include <gtest/gtest.h>

#include <vector>

#include "backends/cuda/cuda_backend.h"
#include "cuda_emulation/fake_runtime.h"
#include "tensor/tensor.h"

namespace wan::test {
namespace {

using cuda_emulation::fake_machine;
using cuda_emulation::FakeMachine;

/// An algorithm that fills the result with one value, but for what it has in one place.
struct Candidate {
  float milliseconds;
  float value = 1.0f;
  float last = 1.0f;
  bool runs = true;
};

class Tuning : public ::testing::Test {
 protected:
  ~Tuning() override { fake_machine() = FakeMachine(); }

  /// out: [2, 3, 5] of rows with gaps.
  int choose(const std::vector<Candidate>& candidates) {
    const Tensor memory(backend->allocator(), DType::kF32, {2, 3, 8});
    const TensorView out = memory.view().slice(2, 0, 5);
    int first_calls = 0;
    const int chosen = tuner.choose(nullptr, static_cast<int>(candidates.size()), out, [&](int i) {
      const Candidate& candidate = candidates[static_cast<std::size_t>(i)];
      if (!candidate.runs) return false;
      // The first call of each loads code, and must not count; the gaps are nobody's, and must not either.
      fake_machine().milliseconds += first_calls++ < 1 ? 1000.0f : candidate.milliseconds;
      auto* values = memory.view().as<float>();
      for (std::int64_t e = 0; e < memory.view().elements(); ++e)
        values[e] = e % 8 < 5 ? candidate.value : static_cast<float>(first_calls);
      values[5 * 8 + 4] = candidate.last;
      return true;
    });
    return chosen;
  }

  std::unique_ptr<Backend> backend = make_cuda_backend({});
  cuda::Tuner tuner{backend->allocator()};
};

TEST_F(Tuning, TakesTheFastest) {
  EXPECT_EQ(choose({{3.0f}, {1.0f}, {2.0f}}), 1);
  EXPECT_EQ(choose({{1.0f}, {3.0f}, {2.0f}}), 0);
  EXPECT_EQ(choose({{1.0f}}), 0);
}

TEST_F(Tuning, NeverForOtherBits) {
  // Candidate 1 is faster but differs in the last element.
  EXPECT_EQ(choose({{3.0f}, {.milliseconds = 1.0f, .last = 1.0000001f}, {2.0f}}), 2);
  // The first differs from the rest, which agree.
  EXPECT_EQ(choose({{.milliseconds = 1.0f, .value = 2.0f}, {3.0f}, {2.0f}}), 2);
  // No two agree: the library's own first choice.
  EXPECT_EQ(choose({{.milliseconds = 3.0f, .value = 2.0f}, {1.0f}}), 0);
}

TEST_F(Tuning, PassesOverWhatDoesNotRun) {
  EXPECT_EQ(choose({{.milliseconds = 1.0f, .runs = false}, {2.0f}}), 1);
  EXPECT_EQ(choose({{.milliseconds = 1.0f, .runs = false}}), -1);
  EXPECT_EQ(choose(std::vector<Candidate>()), -1);
}

}  // namespace
}  // namespace wan::test
