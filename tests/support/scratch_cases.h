#pragma once
// Whether take_scratch() says what run() takes of the workspace: products, convolutions and attention of both dtypes.

#include <gtest/gtest.h>

#include "ops/backend.h"
#include "ops/exec_context.h"

namespace wan::test {

/// Runs every case on the backend, on memory that holds zeros. What the libraries of a device take beside it may be more.
inline void expect_scratch_as_stated(Backend& backend) {
  SelfCommunicator communicator;
  const auto zeros = [&](DType dtype, const Shape& shape) {
    const Tensor host(DType::kU8, {static_cast<std::int64_t>(dtype_size(dtype)) * shape.elements()});
    std::fill_n(host.as<std::uint8_t>(), host.elements(), std::uint8_t{0});
    Tensor made(backend.allocator(), dtype, shape);
    backend.upload(host, TensorView(made.view().data(), DType::kU8, host.shape(), made.view().device()));
    return made;
  };
  const auto expect = [&](const char* op, const auto& args) {
    Workspace ran(backend.allocator());
    ExecContext ctx{.backend = backend, .workspace = ran, .communicator = communicator};
    backend.run(ctx, args);
    backend.synchronize();
    Workspace stated(backend.allocator());
    {
      const Workspace::Scope scope(stated);
      backend.take_scratch(stated, args);
    }
    EXPECT_EQ(stated.most(), ran.most()) << op;
  };
  for (const DType x : {DType::kF32, DType::kBF16})
    for (const DType weight : {DType::kF32, DType::kBF16}) {
      SCOPED_TRACE(std::string(dtype_name(x)) + ", weight " + dtype_name(weight));
      const Tensor rows = zeros(x, {40, 64});
      const Tensor matrix = zeros(weight, {96, 64});
      const Tensor bias = zeros(DType::kF32, {96});
      for (const DType out : {DType::kF32, DType::kBF16}) {
        const Tensor product = zeros(out, {40, 96});
        expect("linear", LinearArgs{.x = rows, .weight = matrix, .bias = bias, .out = product});
      }
      const Tensor frames = zeros(x, {3, 8, 8, 3});
      const Tensor kernel = zeros(weight, {5, 3, 3, 3, 3});
      const Tensor kernel_bias = zeros(DType::kF32, {5});
      const Tensor even = zeros(x, {1, 8, 8, 5});
      expect("conv3d", Conv3dArgs{.x = frames,
                                  .weight = kernel,
                                  .bias = kernel_bias,
                                  .padding = {.top = 1, .bottom = 1, .left = 1, .right = 1},
                                  .residual = {},
                                  .out = even});
      const Tensor halved = zeros(x, {1, 4, 4, 5});
      expect("conv3d, uneven padding", Conv3dArgs{.x = frames,
                                                  .weight = kernel,
                                                  .bias = kernel_bias,
                                                  .stride = {1, 2, 2},
                                                  .padding = {.bottom = 1, .right = 1},
                                                  .residual = halved,
                                                  .out = halved});
    }
  for (const DType dtype : {DType::kF32, DType::kBF16})
    for (const std::int64_t width : {24, 400}) {
      const Tensor q = zeros(dtype, {50, 3, width});
      const Tensor k = zeros(dtype, {20, 3, width});
      const Tensor out = zeros(dtype, {50, 3, width});
      const Tensor shared = zeros(dtype, {60, 1, width});
      for (const std::int64_t queries : {1, 50})
        expect("causal_attention", CausalAttentionArgs{.q = q.view().slice(0, 0, queries),
                                                       .k = shared,
                                                       .v = shared,
                                                       .scale = 1.0f,
                                                       .out = out.view().slice(0, 0, queries)});
      expect("attention",
             AttentionArgs{.q = q, .k = k, .v = k, .scale = 1.0f, .bias = {}, .key_bias = {}, .out = out});
    }
}

}  // namespace wan::test
