// Time and GFLOP/s of the ops at the shapes of the demo and, scaled down in rows only, of A14B.
//
// The argument "threads" is the backend's. With one thread the rate counts processor time, which other
// programs on the machine do not change; with more, wall time.

#include <benchmark/benchmark.h>

#include <cmath>
#include <cstring>
#include <string>
#include <tuple>
#include <vector>

#include "backends/cpu/cpu_backend.h"
#include "ops/backend.h"

namespace {

using namespace wan;

struct Bench {
  explicit Bench(int threads) : backend(make_cpu_backend({.threads = threads})) {}
  std::unique_ptr<Backend> backend;
  Workspace workspace{cpu_allocator()};
  SelfCommunicator communicator;
  ExecContext ctx{*backend, workspace, communicator, {}, nullptr, true};
};

Tensor filled(DType dtype, const Shape& shape) {
  Tensor t(dtype, shape);
  for (std::int64_t i = 0; i < t.elements(); ++i) {
    const float value = 0.001f * static_cast<float>(i * 7919 % 2003 - 1001);
    if (dtype == DType::kF32)
      t.as<float>()[i] = value;
    else
      t.as<BF16>()[i] = to_bf16(value);
  }
  return t;
}

/// Runs body until the time is stable; flops of one call give the rate.
template <typename Body>
void measure(benchmark::State& state, double flops, double bytes, Body&& body) {
  body();
  for (auto _ : state) body();
  if (flops > 0)
    state.counters["FLOP/s"] = benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
  if (bytes > 0)
    state.counters["B/s"] = benchmark::Counter(bytes, benchmark::Counter::kIsIterationInvariantRate);
}

struct LinearShape {
  std::int64_t rows, inner, columns;
  ActivationKind activation = ActivationKind::kNone;
  DType weight = DType::kF32;
};

void run_linear(benchmark::State& state, const LinearShape& s, int threads) {
  Bench bench(threads);
  const Tensor x = filled(DType::kF32, {s.rows, s.inner});
  const Tensor weight = filled(s.weight, {s.columns, s.inner});
  const Tensor bias = filled(DType::kF32, {s.columns});
  const Tensor out(DType::kF32, {s.rows, s.columns});
  measure(state, 2.0 * static_cast<double>(s.rows * s.inner * s.columns), 0, [&] {
    linear(bench.ctx, {x, weight, bias, out, s.activation});
  });
}

void run_unpack(benchmark::State& state, DType dtype, int threads) {
  Bench bench(threads);
  const Shape shape{1280, 5120};
  const Tensor packed(dtype, shape);
  std::memset(packed.view().data(), 0x11, packed.view().bytes());
  const Tensor out(DType::kF32, shape);
  measure(state, 0, static_cast<double>(packed.view().bytes() + out.view().bytes()),
          [&] { unpack(bench.ctx, {.packed = packed, .out = out}); });
}

struct AttentionShape {
  std::int64_t queries, keys, heads, width;
};

void run_attention(benchmark::State& state, const AttentionShape& s, int threads) {
  Bench bench(threads);
  const Tensor q = filled(DType::kF32, {s.queries, s.heads, s.width});
  const Tensor k = filled(DType::kF32, {s.keys, s.heads, s.width});
  const Tensor v = filled(DType::kF32, {s.keys, s.heads, s.width});
  const Tensor out(DType::kF32, {s.queries, s.heads, s.width});
  const float scale = 1.0f / std::sqrt(static_cast<float>(s.width));
  measure(state, 4.0 * static_cast<double>(s.queries * s.keys * s.heads * s.width), 0, [&] {
    attention(bench.ctx, {q, k, v, scale, {}, {}, out});
  });
}

struct ConvShape {
  std::int64_t frames, size, in, out;  // output frames; height and width
  int kt, k;
  bool residual = false;
};

void run_conv(benchmark::State& state, const ConvShape& s, int threads) {
  Bench bench(threads);
  const Tensor x = filled(DType::kF32, {s.frames + s.kt - 1, s.size, s.size, s.in});
  const Tensor weight = filled(DType::kF32, {s.out, s.kt, s.k, s.k, s.in});
  const Tensor bias = filled(DType::kF32, {s.out});
  const Tensor out = filled(DType::kF32, {s.frames, s.size, s.size, s.out});
  const int pad = s.k / 2;
  Conv3dArgs args{x, weight, bias, {1, 1, 1}, {pad, pad, pad, pad}, {}, out};
  if (s.residual) args.residual = out;
  measure(state, 2.0 * static_cast<double>(s.frames * s.size * s.size * s.in * s.out * s.kt * s.k * s.k), 0,
          [&] { conv3d(bench.ctx, args); });
}

/// VAE 2.2's shortcuts, to half the resolution or from it; `in` and `out` channels.
void run_shortcut(benchmark::State& state, const std::string& op, std::int64_t in, std::int64_t out,
                  int threads) {
  Bench bench(threads);
  const Tensor fine = filled(DType::kF32, {4, 64, 64, op == "average_down" ? in : out});
  const Tensor coarse = filled(DType::kF32, {2, 32, 32, op == "average_down" ? out : in});
  const double bytes = 4.0 * static_cast<double>(fine.elements() + coarse.elements());
  const ResampleFactors factors{.time = 2, .space = 2};
  if (op == "average_down")
    measure(state, 0, bytes, [&] { average_down(bench.ctx, {fine, factors, coarse}); });
  if (op == "duplicate_up")
    measure(state, 0, bytes, [&] { duplicate_up(bench.ctx, {coarse, factors, fine}); });
}

/// SAM 2's second stage: a picture with twice its channels, halved.
void run_pool(benchmark::State& state, std::int64_t size, std::int64_t channels, int threads) {
  Bench bench(threads);
  const Tensor x = filled(DType::kF32, {1, size, size, channels});
  const Tensor out(DType::kF32, {1, size / 2, size / 2, channels});
  const double bytes = 4.0 * static_cast<double>(x.elements() + out.elements());
  measure(state, 0, bytes, [&] { max_pool_2x2(bench.ctx, {.x = x, .out = out}); });
}

/// A layer of the person detector's: channels last, zeros round the picture.
void run_depthwise(benchmark::State& state, std::int64_t size, std::int64_t channels, std::int64_t kernel,
                   int threads) {
  Bench bench(threads);
  const Tensor x = filled(DType::kF32, {1, size, size, channels});
  const Tensor weight = filled(DType::kF32, {kernel, kernel, channels});
  const Tensor out = filled(DType::kF32, {1, size, size, channels});
  const int edge = static_cast<int>(kernel / 2);
  const DepthwiseConvArgs args{.x = x,
                               .weight = weight,
                               .bias = {},
                               .padding = {.top = edge, .bottom = edge, .left = edge, .right = edge},
                               .out = out};
  measure(state, static_cast<double>(args.flops()), 0, [&] { depthwise_conv(bench.ctx, args); });
}

/// The sum of two pictures, channels last.
void run_pointwise(benchmark::State& state, std::int64_t size, std::int64_t channels, int threads) {
  Bench bench(threads);
  const Tensor x = filled(DType::kF32, {size, size, channels});
  const Tensor out = filled(DType::kF32, {size, size, channels});
  measure(state, 0, 12.0 * static_cast<double>(x.elements()),
          [&] { pointwise(bench.ctx, {.kind = PointwiseKind::kAdd, .x = x, .y = x, .out = out}); });
}

void run_rows(benchmark::State& state, const std::string& op, std::int64_t rows, std::int64_t width,
              int threads) {
  Bench bench(threads);
  const Tensor x = filled(DType::kF32, {rows, width});
  const Tensor y = filled(DType::kF32, {rows, width});
  const Tensor row = filled(DType::kF32, {1, width});
  const TensorView vector = row.view().reshape({width});
  const std::int64_t head = width % 48 == 0 ? 48 : width % 128 == 0 ? 128 : width;
  const Tensor table = filled(DType::kF32, {rows, head / 2, 2});
  const TensorView heads = y.view().reshape({rows, width / head, head});
  const std::int64_t ends[] = {rows};
  const double bytes = 8.0 * static_cast<double>(rows * width);
  if (op == "layer_norm")
    measure(state, 0, bytes, [&] { layer_norm(bench.ctx, {x, {}, {}, row, row, {ends}, 1e-6f, y}); });
  if (op == "row_softmax") measure(state, 0, bytes, [&] { row_softmax(bench.ctx, {x, y}); });
  if (op == "row_reduction") {
    const Tensor made(DType::kF32, {rows});
    measure(state, 0, bytes / 2, [&] { row_reduction(bench.ctx, {RowReductionKind::kMax, x, made}); });
  }
  if (op == "rms_norm") measure(state, 0, bytes, [&] { rms_norm(bench.ctx, {x, vector, 1e-6f, y}); });
  if (op == "rms_norm_rope")
    measure(state, 0, bytes, [&] { rms_norm_rope(bench.ctx, {x, vector, 1e-6f, table, heads}); });
  if (op == "gated_residual")
    measure(state, 0, 1.5 * bytes, [&] { gated_residual(bench.ctx, {x, y, row, {ends}}); });
  if (op == "join_attention") {
    const Tensor sums = filled(DType::kF32, {width / head, rows});
    measure(state, 0, 1.5 * bytes, [&] {
      join_attention(bench.ctx, {x.view().reshape(heads.shape()), sums, heads, sums});
    });
  }
  if (op == "channel_norm_silu")
    measure(state, 0, bytes, [&] { channel_norm(bench.ctx, {x, vector, ActivationKind::kSiLU, y}); });
  if (op == "gelu")
    measure(state, 0, bytes, [&] { activation(bench.ctx, {x, ActivationKind::kGeluTanh, y}); });
}

template <typename Function, typename... Args>
void add(const std::string& name, int threads, Function function, const Args&... args) {
  auto* registered =
      benchmark::RegisterBenchmark((name + "/threads:" + std::to_string(threads)).c_str(),
                                   [=](benchmark::State& state) { function(state, args..., threads); });
  registered->Unit(benchmark::kMicrosecond);
  if (threads > 1) registered->UseRealTime();
}

void register_all(int threads) {
  for (const LinearShape& s : std::vector<LinearShape>{{320, 192, 192},
                                                       {320, 192, 576},
                                                       {320, 192, 640, ActivationKind::kGeluTanh},
                                                       {320, 640, 192},
                                                       {320, 640, 192, ActivationKind::kNone, DType::kBF16},
                                                       {640, 192, 192},
                                                       {640, 192, 640, ActivationKind::kGeluTanh},
                                                       {640, 640, 192},
                                                       {1, 192, 1152},
                                                       {1, 1280, 7680},
                                                       {256, 5120, 5120},
                                                       {256, 5120, 5120, ActivationKind::kNone, DType::kBF16},
                                                       {256, 5120, 13824, ActivationKind::kGeluTanh}})
    add("linear/" + std::to_string(s.rows) + "x" + std::to_string(s.inner) + "x" + std::to_string(s.columns) +
            (s.activation == ActivationKind::kNone ? "" : "/gelu") +
            (s.weight == DType::kBF16 ? "/bf16" : ""),
        threads, run_linear, s);
  for (const AttentionShape& s : std::vector<AttentionShape>{
           {320, 320, 4, 48}, {320, 512, 4, 48}, {256, 256, 1, 64}, {1024, 4096, 4, 128}, {900, 900, 1, 384}})
    add("attention/" + std::to_string(s.queries) + "x" + std::to_string(s.keys) + "/" +
            std::to_string(s.heads) + "x" + std::to_string(s.width),
        threads, run_attention, s);
  for (const ConvShape& s : std::vector<ConvShape>{{1, 16, 16, 64, 3, 3},
                                                   {1, 16, 64, 64, 3, 3},
                                                   {1, 16, 64, 128, 3, 1},
                                                   {2, 32, 64, 32, 1, 3},
                                                   {2, 32, 32, 64, 3, 3},
                                                   {2, 32, 32, 64, 1, 1},
                                                   {2, 32, 64, 64, 3, 3},
                                                   {2, 32, 64, 64, 3, 3, true},
                                                   {2, 32, 64, 128, 3, 1},
                                                   {4, 64, 64, 32, 1, 3},
                                                   {4, 64, 32, 32, 3, 3},
                                                   {4, 128, 32, 16, 1, 3},
                                                   {4, 128, 16, 16, 3, 3},
                                                   {4, 128, 16, 16, 3, 3, true},
                                                   {4, 128, 16, 3, 3, 3},
                                                   {1, 64, 384, 384, 3, 3},
                                                   {1, 128, 192, 192, 3, 3},
                                                   {4, 160, 96, 96, 3, 3}})
    add("conv3d/" + std::to_string(s.frames) + "x" + std::to_string(s.size) + "x" + std::to_string(s.size) +
            "/" + std::to_string(s.in) + "to" + std::to_string(s.out) + "/" + std::to_string(s.kt) + "x" +
            std::to_string(s.k) + "x" + std::to_string(s.k) + (s.residual ? "/residual" : ""),
        threads, run_conv, s);
  add("max_pool_2x2/256x256/288", threads, run_pool, std::int64_t{256}, std::int64_t{288});
  add("depthwise_conv/80x80/192/3x3", threads, run_depthwise, std::int64_t{80}, std::int64_t{192},
      std::int64_t{3});
  add("depthwise_conv/20x20/576/7x7", threads, run_depthwise, std::int64_t{20}, std::int64_t{576},
      std::int64_t{7});
  add("pointwise/80x80/192", threads, run_pointwise, std::int64_t{80}, std::int64_t{192});
  for (const char* op : {"row_softmax", "row_reduction"})
    for (const auto& [rows, width] : {std::pair{33600, 16}, {8400, 80}})
      add("rows/" + std::string(op) + "/" + std::to_string(rows) + "x" + std::to_string(width), threads,
          run_rows, std::string(op), std::int64_t{rows}, std::int64_t{width});
  for (const char* op :
       {"layer_norm", "rms_norm", "rms_norm_rope", "gated_residual", "join_attention", "gelu"})
    for (const auto& [rows, width] : {std::pair{320, 192}, {512, 5120}})
      add("rows/" + std::string(op) + "/" + std::to_string(rows) + "x" + std::to_string(width), threads,
          run_rows, std::string(op), std::int64_t{rows}, std::int64_t{width});
  for (const DType dtype :
       {DType::kF8E4M3, DType::kF8E4M3Scaled128, DType::kI8Scaled128, DType::kI8Rotated256, DType::kQ8_0,
        DType::kQ4_0, DType::kQ4_K, DType::kQ6_K, DType::kIQ4_XS})
    add("unpack/" + std::string(dtype_name(dtype)) + "/1280x5120", threads, run_unpack, dtype);
  for (const auto& [op, in, out] :
       {std::tuple{"average_down", 160, 320}, {"duplicate_up", 256, 256}, {"duplicate_up", 256, 128}})
    add("shortcut/" + std::string(op) + "/4x64x64/" + std::to_string(in) + "to" + std::to_string(out),
        threads, run_shortcut, std::string(op), std::int64_t{in}, std::int64_t{out});
  for (const auto& [rows, width] : {std::pair{65536, 16}, {16384, 32}, {2048, 64}, {16384, 96}})
    add("rows/channel_norm_silu/" + std::to_string(rows) + "x" + std::to_string(width), threads, run_rows,
        std::string("channel_norm_silu"), std::int64_t{rows}, std::int64_t{width});
}

}  // namespace

int main(int argc, char** argv) {
  register_all(1);
  if (const int threads = available_cpus(); threads > 1) register_all(threads);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
