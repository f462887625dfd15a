// Time and rate of the CUDA backend's ops at A14B's shapes, beside two ceilings measured in the same run: a device copy, and
// cuBLASLt's best product. Random values; medians of repeats after warming up.
//
//   build-cuda/bench/cuda_ops [ROWS of the transformer, 32760] [untuned|language|unpack]
//
// language: the ops of a language model alone. unpack: packed weights alone. untuned: the libraries' first choices, CudaBackendOptions::tune off: what trying them gains.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string_view>
#include <vector>

#include "backends/cuda/cuda_backend.h"
#include "ops/causal_attention.h"
#include "ops/conv3d.h"
#include "ops/rotate_halves.h"
#include "tensor/formats/all_formats.h"

namespace {

using namespace wan;

struct Bench {
  explicit Bench(const CudaBackendOptions& options) : backend(make_cuda_backend(options)) {}

  std::unique_ptr<Backend> backend;
  Workspace workspace{backend->allocator()};
  SelfCommunicator communicator;
  ExecContext ctx{*backend, workspace, communicator, {}, nullptr, true};
  std::uint64_t seed = 1;

  Tensor random(DType dtype, const Shape& shape, double scale = 1.0) {
    const Tensor f32(backend->allocator(), DType::kF32, shape);
    backend->draw_cuda_normals(
        {.seed = seed++, .multiprocessors = 100, .threads_per_multiprocessor = 2048, .out = f32});
    linear_combination(ctx, {{{scale, f32}}, f32});
    Tensor made(backend->allocator(), dtype, shape);
    copy(ctx, {f32, made});
    return made;
  }

  /// Prints the median time of one call, and rates where flops or bytes are given. Returns the seconds; 0 where it failed.
  double measure(const char* name, double flops, double bytes, const std::function<void()>& call) {
    using Clock = std::chrono::steady_clock;
    const auto timed = [&](int calls) {
      backend->synchronize();
      const auto start = Clock::now();
      for (int i = 0; i < calls; ++i) call();
      backend->synchronize();
      return std::chrono::duration<double>(Clock::now() - start).count() / calls;
    };
    try {
      timed(2);
      const int calls = std::clamp(static_cast<int>(0.05 / timed(1)), 1, 1000);
      std::vector<double> times;
      for (int i = 0; i < 7; ++i) times.push_back(timed(calls));
      std::sort(times.begin(), times.end());
      const double median = times[3];
      std::printf("%-58s %9.3f ms (%.3f to %.3f)", name, 1e3 * median, 1e3 * times.front(),
                  1e3 * times.back());
      if (flops > 0) std::printf("  %7.1f TF/s", 1e-12 * flops / median);
      if (bytes > 0) std::printf("  %7.2f TB/s", 1e-12 * bytes / median);
      std::printf("\n");
      std::fflush(stdout);
      return median;
    } catch (const Error& error) {
      std::printf("%-58s %s\n", name, error.what());
      return 0.0;
    }
  }
};

void run_products(Bench& b, std::int64_t rows) {
  struct Product {
    const char* name;
    std::int64_t inner, columns;
    ActivationKind activation;
    DType out;
  };
  for (const Product& p :
       {Product{"linear 5120 -> 5120, bf16", 5120, 5120, ActivationKind::kNone, DType::kBF16},
        {"linear 5120 -> 13824, GELU, bf16", 5120, 13824, ActivationKind::kGeluTanh, DType::kBF16},
        {"linear 13824 -> 5120, bf16 to f32", 13824, 5120, ActivationKind::kNone, DType::kF32}}) {
    const Tensor x = b.random(DType::kBF16, {rows, p.inner});
    const Tensor weight = b.random(DType::kBF16, {p.columns, p.inner}, 0.02);
    const Tensor bias = b.random(DType::kF32, {p.columns});
    const Tensor out(b.backend->allocator(), p.out, {rows, p.columns});
    b.measure(p.name, 2e0 * static_cast<double>(rows * p.inner * p.columns), 0, [&] {
      linear(b.ctx, {x, weight, bias, out, p.activation});
    });
  }
}

void run_attention(Bench& b, std::int64_t rows) {
  const auto heads = [](const Tensor& t) { return t.view().reshape({t.dim(0), 40, 128}); };
  const Tensor q = b.random(DType::kBF16, {rows, 5120});
  const Tensor k = b.random(DType::kBF16, {rows, 5120});
  const Tensor v = b.random(DType::kBF16, {rows, 5120});
  const Tensor out(b.backend->allocator(), DType::kBF16, {rows, 5120});
  const float scale = 1.0f / std::sqrt(128.0f);
  const auto flops = [&](std::int64_t keys) {
    return 4.0 * static_cast<double>(rows) * static_cast<double>(keys) * 5120;
  };
  b.measure("self-attention, 40 heads of 128, bf16", flops(rows), 0, [&] {
    attention(b.ctx, {heads(q), heads(k), heads(v), scale, {}, {}, heads(out)});
  });
  for (const std::int64_t keys : {40, 512}) {
    const Tensor key_bias = b.random(DType::kF32, {keys});
    const TensorView text_k = heads(k).slice(0, 0, keys);
    const TensorView text_v = heads(v).slice(0, 0, keys);
    b.measure(
        keys == 40 ? "attention to 40 keys with a bias, bf16" : "attention to 512 keys with a bias, bf16",
        flops(keys), 0, [&] {
          attention(b.ctx, {heads(q), text_k, text_v, scale, {}, key_bias, heads(out)});
        });
  }
}

/// The one head in the middle of a VAE, over the pixels of a frame: 2.1 at 1280x720, 2.2 at 1280x704.
void run_wide_attention(Bench& b) {
  for (const DType type : {DType::kF32, DType::kBF16})
    for (const std::int64_t width : {384, 1024}) {
      const std::int64_t tokens = width == 384 ? 90 * 160 : 44 * 80;
      const Tensor qkv = b.random(type, {tokens, 3, width});
      const Tensor out(b.backend->allocator(), type, {tokens, 1, width});
      const auto part = [&](std::int64_t i) { return qkv.view().slice(1, i, i + 1); };
      const auto flops = 4.0 * static_cast<double>(tokens) * static_cast<double>(tokens * width);
      b.measure(fmt::format("attention, one head of {}, {}", width, dtype_name(type)).c_str(), flops, 0, [&] {
        attention(b.ctx,
                  {part(0), part(1), part(2), 1.0f / std::sqrt(static_cast<float>(width)), {}, {}, out});
      });
    }
}

void run_rows(Bench& b, std::int64_t rows) {
  const Tensor x = b.random(DType::kF32, {rows, 5120});
  const Tensor y = b.random(DType::kBF16, {rows, 5120});
  const Tensor out(b.backend->allocator(), DType::kBF16, {rows, 5120});
  const Tensor table = b.random(DType::kF32, {rows, 64, 2});
  const Tensor row = b.random(DType::kF32, {1, 5120});
  const Tensor weight = b.random(DType::kF32, {5120});
  const std::vector<std::int64_t> ends{rows};
  const auto elements = static_cast<double>(rows * 5120);
  b.measure("layer_norm with scale and shift, f32 to bf16", 0, 6 * elements, [&] {
    LayerNormArgs args{};
    args.x = x;
    args.scale = row;
    args.shift = row;
    args.segments = {ends};
    args.out = out;
    layer_norm(b.ctx, args);
  });
  b.measure("rms_norm_rope, bf16 in place", 0, 4 * elements, [&] {
    rms_norm_rope(b.ctx, {out, weight, 1e-6f, table, out.view().reshape({rows, 40, 128})});
  });
  b.measure("gated_residual, f32 += bf16", 0, 10 * elements, [&] {
    gated_residual(b.ctx, {x, y, row, {ends}});
  });
  b.measure("copy f32 to f32: the ceiling of the three", 0, 8 * elements, [&] {
    const TensorView half = x.view().slice(0, 0, rows / 2);
    copy(b.ctx, {half, x.view().slice(0, rows / 2, rows / 2 * 2)});
    copy(b.ctx, {half, x.view().slice(0, rows / 2, rows / 2 * 2)});
  });
}

/// The residual blocks of VAE 2.1's decoder at 1280x720, a frame at a time as it runs there, and what they come to for 81 frames.
void run_vae(Bench& b) {
  struct Level {
    std::int64_t channels, shrink, frames, convolutions;
  };
  constexpr Level kLevels[] = {{384, 8, 21, 10}, {384, 4, 41, 6}, {192, 2, 81, 6}, {96, 1, 81, 6}};
  for (const DType type : {DType::kF32, DType::kBF16}) {
    double total = 0.0;
    for (const Level& level : kLevels) {
      const std::int64_t channels = level.channels;
      const std::int64_t height = 720 / level.shrink;
      const std::int64_t width = 1280 / level.shrink;
      const Tensor x = b.random(type, {3, height, width, channels});
      const Tensor weight = b.random(type, {channels, 3, 3, 3, channels}, 0.05);
      const Tensor bias = b.random(DType::kF32, {channels});
      const Tensor gamma = b.random(DType::kF32, {channels});
      const Tensor out = b.random(type, {1, height, width, channels});
      const std::string suffix =
          fmt::format(", {} channels, {}x{}, {}", channels, width, height, dtype_name(type));
      const auto elements = static_cast<double>(height * width * channels);
      const double flops = 2 * 27 * elements * static_cast<double>(channels);
      const double bare = b.measure(("conv3d 3x3x3" + suffix).c_str(), flops, 0, [&] {
        conv3d(b.ctx, {x, weight, bias, {1, 1, 1}, {1, 1, 1, 1}, {}, out});
      });
      const double added = b.measure(("conv3d, residual" + suffix).c_str(), flops, 0, [&] {
        conv3d(b.ctx, {x, weight, bias, {1, 1, 1}, {1, 1, 1, 1}, out, out});
      });
      const TensorView pixels = out.view().reshape({height * width, channels});
      const double norm = b.measure(("channel_norm, SiLU" + suffix).c_str(), 0,
                                    2 * elements * static_cast<double>(dtype_size(type)), [&] {
                                      channel_norm(b.ctx, {pixels, gamma, ActivationKind::kSiLU, pixels});
                                    });
      total += static_cast<double>(level.frames * level.convolutions) * (norm + (bare + added) / 2);
    }
    std::printf("VAE 2.1, 1280x720x81, %s: the residual blocks come to %.2f s\n", dtype_name(type), total);
  }
}

/// What is VAE 2.2's alone: the shortcut that repeats channels, at 1280x704.
void run_shortcuts(Bench& b) {
  for (const DType type : {DType::kF32, DType::kBF16}) {
    const Tensor coarse = b.random(type, {1, 176, 320, 1024});
    const Tensor fine = b.random(type, {1, 352, 640, 512});
    const auto bytes = static_cast<double>((coarse.view().elements() + fine.view().elements()) *
                                           static_cast<std::int64_t>(dtype_size(type)));
    b.measure(fmt::format("duplicate_up of 1024 channels, {}", dtype_name(type)).c_str(), 0, bytes, [&] {
      duplicate_up(b.ctx, {coarse, {.time = 1, .space = 2}, fine});
    });
  }
}

/// The VAEs' heads: few output channels.
void run_heads(Bench& b) {
  for (const DType type : {DType::kF32, DType::kBF16})
    for (const std::int64_t outputs : {3, 12}) {
      const Shape x_shape = outputs == 3 ? Shape{3, 720, 1280, 96} : Shape{3, 352, 640, 256};
      const Tensor x = b.random(type, x_shape);
      const Tensor weight = b.random(type, {outputs, 3, 3, 3, x_shape[3]}, 0.05);
      const Tensor bias = b.random(DType::kF32, {outputs});
      const Tensor out(b.backend->allocator(), type, {1, x_shape[1], x_shape[2], outputs});
      const auto bytes =
          static_cast<double>(x.view().elements() * static_cast<std::int64_t>(dtype_size(type)));
      b.measure(
          fmt::format("conv3d 3x3x3, {} to {} channels, {}", x_shape[3], outputs, dtype_name(type)).c_str(),
          54.0 * static_cast<double>(out.view().elements() * x_shape[3]), bytes, [&] {
            conv3d(b.ctx, {x, weight, bias, {1, 1, 1}, {1, 1, 1, 1}, {}, out});
          });
    }
}

/// Qwen2.5-7B's ops: of one token after 1,500 others, and of a prompt of 1,500.
void run_language(Bench& b) {
  constexpr std::int64_t kDim = 3584, kFfn = 18944, kKeyDim = 512, kWidth = 128, kPrompt = 1500;
  const auto heads = [](const Tensor& t) { return t.view().reshape({t.dim(0), t.dim(1) / kWidth, kWidth}); };
  const Tensor keys = b.random(DType::kBF16, {kPrompt, kKeyDim});
  const Tensor values = b.random(DType::kBF16, {kPrompt, kKeyDim});
  for (const std::int64_t tokens : {std::int64_t{1}, kPrompt}) {
    const auto named = [&](const std::string& name) { return fmt::format("{} of {} tokens", name, tokens); };
    struct Product {
      std::int64_t inner, columns;
      DType out;
    };
    for (const Product& p : {Product{kDim, kKeyDim, DType::kBF16},
                             {kDim, kDim, DType::kBF16},
                             {kDim, kFfn, DType::kBF16},
                             {kFfn, kDim, DType::kF32}}) {
      const Tensor x = b.random(DType::kBF16, {tokens, p.inner});
      const Tensor weight = b.random(DType::kBF16, {p.columns, p.inner}, 0.02);
      const Tensor out(b.backend->allocator(), p.out, {tokens, p.columns});
      const double products = static_cast<double>(p.inner * p.columns);
      b.measure(named(fmt::format("linear {} -> {}", p.inner, p.columns)).c_str(),
                2 * static_cast<double>(tokens) * products, 2 * products,
                [&] { linear(b.ctx, {.x = x, .weight = weight, .bias = {}, .out = out}); });
    }
    for (const std::vector<std::int64_t>& columns : {std::vector{kDim, kKeyDim, kKeyDim}, {kFfn, kFfn}}) {
      const Tensor x = b.random(DType::kBF16, {tokens, kDim});
      std::vector<Tensor> weights, outs;
      LinearGroupArgs group;
      double bytes = 0;
      for (std::size_t i = 0; i < columns.size(); ++i) {
        weights.push_back(b.random(DType::kBF16, {columns[i], kDim}, 0.02));
        outs.emplace_back(b.backend->allocator(), DType::kBF16, Shape{tokens, columns[i]});
        group.products[i] = {.x = x, .weight = weights[i], .bias = {}, .out = outs[i]};
        bytes += 2 * static_cast<double>(columns[i] * kDim);
      }
      b.measure(named(fmt::format("linear_group of {} -> {}", kDim, fmt::join(columns, ", "))).c_str(),
                static_cast<double>(group.flops()), bytes, [&] { linear_group(b.ctx, group); });
    }
    const Tensor query = b.random(DType::kBF16, {tokens, kDim});
    const Tensor attended(b.backend->allocator(), DType::kBF16, {tokens, kDim});
    const CausalAttentionArgs attention{
        .q = heads(query), .k = heads(keys), .v = heads(values), .scale = 0.09f, .out = heads(attended)};
    b.measure(named("causal attention to 1500 keys").c_str(), static_cast<double>(attention.flops()), 0,
              [&] { causal_attention(b.ctx, attention); });
    const Tensor table = b.random(DType::kF32, {tokens, kWidth / 2, 2});
    b.measure(named("rotate_halves").c_str(), 0, 4 * static_cast<double>(query.view().elements()),
              [&] { rotate_halves(b.ctx, {.x = heads(query), .table = table, .out = heads(query)}); });
    const Tensor x = b.random(DType::kF32, {tokens, kDim});
    const Tensor weight = b.random(DType::kF32, {kDim});
    b.measure(named("rms_norm").c_str(), 0, 6 * static_cast<double>(x.view().elements()),
              [&] { rms_norm(b.ctx, {.x = x, .weight = weight, .eps = 1e-6f, .out = query}); });
    const Tensor gate = b.random(DType::kBF16, {tokens, kFfn});
    const Tensor hidden = b.random(DType::kBF16, {tokens, kFfn});
    b.measure(named("gated SiLU").c_str(), 0, 6 * static_cast<double>(gate.view().elements()), [&] {
      gated_activation(b.ctx, {.gate = gate, .x = hidden, .out = hidden, .kind = ActivationKind::kSiLU});
    });
    b.measure(named("residual").c_str(), 0, 12 * static_cast<double>(x.view().elements()),
              [&] { gated_residual(b.ctx, {.x = x, .y = x, .gate = {}, .segments = {}}); });
    const Tensor branch = b.random(DType::kF32, {tokens, kDim});
    b.measure(
        named("rms_norm behind a branch").c_str(), 0, 14 * static_cast<double>(x.view().elements()),
        [&] { rms_norm(b.ctx, {.x = x, .weight = weight, .eps = 1e-6f, .out = query, .branch = branch}); });
  }
}

/// A feed-forward's weight in every packed format: its bytes and the values', beside the copy of as many.
void run_unpack(Bench& b) {
  const Shape shape{13824, 5120};
  const Tensor out(b.backend->allocator(), DType::kBF16, shape);
  const Tensor from(b.backend->allocator(), DType::kBF16, shape);
  b.measure("copy of as much in bf16", 0, 2.0 * static_cast<double>(out.bytes()), [&] {
    copy(b.ctx, {from, out});
  });
  for (int i = 0; i < formats::All::kCount; ++i) {
    const auto dtype = static_cast<DType>(static_cast<int>(DType::kF8E4M3) + i);
    const Tensor packed(b.backend->allocator(), dtype, shape);
    fill_zero(b.ctx, TensorView(packed.view().data(), DType::kBF16,
                                {static_cast<std::int64_t>(packed.view().bytes() / 2)}, b.backend->device()));
    b.measure(fmt::format("unpack {}", dtype_name(dtype)).c_str(), 0,
              static_cast<double>(packed.view().bytes() + out.bytes()),
              [&] { unpack(b.ctx, {.packed = packed, .out = out}); });
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::int64_t rows = argc > 1 ? std::atoll(argv[1]) : 32760;
    const std::string_view kind = argc > 2 ? argv[2] : "";
    const bool tune = kind != "untuned";
    Bench bench({.tune = tune});
    const CudaDeviceInfo info = cuda_device_info(0);
    std::printf("%s, %lld rows%s\n", info.name.c_str(), static_cast<long long>(rows),
                tune ? "" : ", untuned");
    if (kind == "language" || kind == "unpack") {
      kind == "language" ? run_language(bench) : run_unpack(bench);
      return 0;
    }
    run_rows(bench, rows);
    run_products(bench, rows);
    run_attention(bench, rows);
    run_wide_attention(bench);
    run_vae(bench);
    run_heads(bench);
    run_shortcuts(bench);
    run_unpack(bench);
    run_language(bench);
    std::printf("peak device memory %.2f GB\n", 1e-9 * static_cast<double>(bench.backend->memory_use().peak));
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
