// The normals against src/diffusion's generator, which is held against PyTorch's own values: the same integers and places;
// cuRAND's host functions in place of the device's fast sine and cosine.

#include "diffusion/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "backends/cuda/cuda_backend.h"

namespace wan::test {
namespace {

TEST(CudaNormal, FollowsPyTorchsOrder) {
  const auto backend = make_cuda_backend({});
  constexpr CudaLaunchGrid kGrid{2, 1536};  // 3072 threads: 12,288 values a turn
  for (const std::int64_t count : {1, 255, 257, 3072, 3073, 12288, 12289, 40000}) {
    const auto expected = make_random_generator({RandomKind::kTorchCuda, kGrid}, 42);
    std::uint64_t offset = 0;
    for (int draw = 0; draw < 3; ++draw) {
      std::vector<float> values(static_cast<std::size_t>(count));
      expected->normal(values);
      const Tensor there(backend->allocator(), DType::kF32, {count});
      ASSERT_TRUE(backend->draw_cuda_normals({.seed = 42,
                                              .multiprocessors = kGrid.multiprocessors,
                                              .threads_per_multiprocessor = kGrid.threads_per_multiprocessor,
                                              .out = there,
                                              .offset = offset}));
      offset += cuda_random_calls(kGrid, count);
      const Tensor back(DType::kF32, {count});
      backend->download(there, back);
      for (std::size_t i = 0; i < values.size(); ++i)
        ASSERT_NEAR(back.as<float>()[i], values[i], 4e-6)
            << "value " << i << " of " << count << ", draw " << draw;
    }
  }
}

TEST(CudaNormal, RefusesWhatItCannotDraw) {
  const auto backend = make_cuda_backend({});
  const Tensor there(backend->allocator(), DType::kBF16, {4});
  const Tensor floats(backend->allocator(), DType::kF32, {4});
  const Tensor host(DType::kF32, {4});
  const auto draw = [&](int threads_per_multiprocessor, const TensorView& out) {
    backend->draw_cuda_normals(
        {.multiprocessors = 2, .threads_per_multiprocessor = threads_per_multiprocessor, .out = out});
  };
  EXPECT_THROW(draw(1536, there), Error);
  EXPECT_THROW(draw(128, floats), Error);
  EXPECT_THROW(draw(1536, host), Error);
}

}  // namespace
}  // namespace wan::test
