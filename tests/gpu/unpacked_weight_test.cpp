// Packed weights with a LoRA beside them at a model's size: sampled rows against sums in double on the host.

#include "nn/unpacked_weight.h"

#include <gtest/gtest.h>

#include <cmath>

#include "gpu/device_values.h"

namespace wan::test {
namespace {

/// Of any bytes; halves' exponents are not all ones.
Tensor packed_bytes(DType dtype, const Shape& shape) {
  Tensor bytes(DType::kU8, {static_cast<std::int64_t>(dtype_bytes(dtype, shape.elements()))});
  std::uint32_t state = 7;
  for (std::int64_t i = 0; i < bytes.elements(); ++i) {
    state = state * 1664525u + 1013904223u;
    bytes.as<std::uint8_t>()[i] = static_cast<std::uint8_t>((state >> 24) & 0x2b);
  }
  return bytes;
}

TEST(GpuUnpackedWeight, HasWhatLorasAdd) {
  GpuContext gpu;
  constexpr std::int64_t kRank = 136;
  for (const DType dtype : {DType::kQ8_0, DType::kQ4_K, DType::kF8E4M3Scaled128})
    for (const Shape& shape : {Shape{5120, 5120}, Shape{5120, 13824}, Shape{70, 256}}) {
      SCOPED_TRACE(std::string(dtype_name(dtype)) + " " + shape.to_string());
      const Tensor bytes = gpu.on_device(packed_bytes(dtype, shape));
      const TensorView packed(bytes.view().data(), dtype, shape, bytes.view().device());
      const Tensor up = gpu.random(DType::kF32, {shape[0], kRank}, 1, 0.1);
      const Tensor down = gpu.random(DType::kF32, {shape[1], kRank}, 2, 0.1);
      const auto unpacked = [&](DType to, const LowRankViews& addition) {
        const Workspace::Scope scope(gpu.workspace);
        gpu.ctx.unpacked = to;
        return gpu.on_host(take_unpacked(gpu.ctx, packed, addition));
      };
      const Tensor plain = unpacked(DType::kF32, {});
      const Tensor exact = unpacked(DType::kF32, {up, down});
      const Tensor rounded = unpacked(DType::kBF16, {up, down});
      const Tensor host_up = gpu.on_host(up), host_down = gpu.on_host(down);
      double error = 0, norm = 0;
      for (const std::int64_t row : {std::int64_t{0}, shape[0] / 2, shape[0] - 1})
        for (std::int64_t column = 0; column < shape[1]; ++column) {
          double sum = plain.as<float>()[row * shape[1] + column];
          for (std::int64_t k = 0; k < kRank; ++k)
            sum += static_cast<double>(host_up.as<float>()[row * kRank + k]) *
                   host_down.as<float>()[column * kRank + k];
          error += std::pow(exact.as<float>()[row * shape[1] + column] - sum, 2);
          norm += sum * sum;
        }
      EXPECT_LT(std::sqrt(error / norm), 1e-6);
      for (std::int64_t i = 0; i < exact.elements(); ++i)
        ASSERT_EQ(to_bf16(exact.as<float>()[i]).bits, rounded.as<BF16>()[i].bits) << i;
    }
}

}  // namespace
}  // namespace wan::test
