#include "ops/linear.h"

#include <algorithm>

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/conversion.h"
#include "backends/cpu/parallel_for.h"

namespace wan {

namespace {

using dnnl::memory;

constexpr std::int64_t kFewRows = 2;  // a pass over the weights a row beats repacking them
constexpr std::int64_t kWeightTile = std::int64_t{1} << 22;  // elements converted at a time: 16 MiB

memory::data_type type_of(const TensorView& view) {
  return view.dtype() == DType::kF32 ? memory::data_type::f32 : memory::data_type::bf16;
}

std::shared_ptr<CachedPrimitive> make_matmul(const dnnl::engine& engine, const LinearArgs& args) {
  const std::int64_t rows = args.x.dim(0);
  const std::int64_t inner = args.x.dim(1);
  const std::int64_t columns = args.weight.dim(0);
  const memory::desc x({rows, inner}, type_of(args.x), memory::dims{args.x.stride(0), 1});
  const memory::desc weight({inner, columns}, type_of(args.weight), memory::dims{1, inner});
  const memory::desc out({rows, columns}, type_of(args.out), memory::dims{args.out.stride(0), 1});
  const dnnl::primitive_attr attributes = user_scratchpad();
  std::vector<CachedPrimitive::Argument> arguments{
      {DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, weight}, {DNNL_ARG_DST, out}};
  if (!args.bias) {
    const dnnl::matmul::primitive_desc description({x, weight, out}, attributes, engine);
    return std::make_shared<CachedPrimitive>(engine, dnnl::matmul(description), arguments,
                                             description.scratchpad_desc());
  }
  const memory::desc bias({1, columns}, memory::data_type::f32, memory::format_tag::ab);
  arguments.push_back({DNNL_ARG_BIAS, bias});
  const dnnl::matmul::primitive_desc description({x, weight, bias, out}, attributes, engine);
  return std::make_shared<CachedPrimitive>(engine, dnnl::matmul(description), arguments,
                                           description.scratchpad_desc());
}

/// The product and the bias; x and weight of one type, bias and out f32.
void multiply(PrimitiveCache& cache, int threads, Workspace& workspace, const LinearArgs& args) {
  const OpenMpThreads team(threads);
  const std::int64_t rows = args.x.dim(0);
  const PrimitiveKey key{'l',
                         rows,
                         args.x.dim(1),
                         args.weight.dim(0),
                         args.x.stride(0),
                         args.out.stride(0),
                         static_cast<std::int64_t>(args.weight.dtype()),
                         args.bias ? 1 : 0,
                         threads};
  const auto primitive = with_dnnl_errors(
      "linear", [&] { return cache.get(key, [&] { return make_matmul(cache.engine(), args); }); });
  if (args.bias)
    primitive->execute(workspace, {args.x.data(), args.weight.data(), args.out.data(), args.bias.data()});
  else
    primitive->execute(workspace, {args.x.data(), args.weight.data(), args.out.data()});
}

/// A few rows: dot products with each row of the weight, which is read once and not repacked.
void multiply_few_rows(const CpuKernels& kernels, int threads, const LinearArgs& args) {
  constexpr std::int64_t kBlock = 16;  // rows of the weight that stay in the cache for all rows of x
  const std::int64_t inner = args.x.dim(1);
  const std::int64_t columns = args.weight.dim(0);
  const float* bias = args.bias ? args.bias.as<float>() : nullptr;
  parallel_for(useful_threads(threads, inner * columns), columns, kBlock,
               [&](std::int64_t first, std::int64_t last) {
                 for (std::int64_t begin = first; begin < last; begin += kBlock) {
                   const std::int64_t count = std::min(kBlock, last - begin);
                   for (std::int64_t m = 0; m < args.x.dim(0); ++m) {
                     float* out = args.out.as<float>() + m * args.out.stride(0) + begin;
                     kernels.dot_rows(args.x.as<float>() + m * args.x.stride(0),
                                      args.weight.as<float>() + begin * inner, out, count, inner);
                     if (bias != nullptr) kernels.add(out, bias + begin, count);
                   }
                 }
               });
}

/// out's rows through the activation, into `to`'s rows of the same or another type. oneDNN's own epilogue takes
/// twice the time and loses digits below -5.
void finish_rows(const CpuKernels& kernels, int threads, const LinearArgs& args, const TensorView& to) {
  const std::int64_t columns = args.out.dim(1);
  for_each_row(threads, args.out.dim(0), columns, [&](std::int64_t m) {
    float* row = args.out.as<float>() + m * args.out.stride(0);
    if (args.activation == ActivationKind::kSiLU) kernels.silu(row, row, columns);
    if (args.activation == ActivationKind::kGeluTanh) kernels.gelu_tanh(row, row, columns);
    if (to.dtype() == DType::kBF16) kernels.f32_to_bf16(row, bf16_bits(to) + m * to.stride(0), columns);
  });
}

bool multiplies_bf16() {
  static const bool native = [] {
    const auto isa = dnnl::get_effective_cpu_isa();
    return isa == dnnl::cpu_isa::avx512_core_bf16 || isa == dnnl::cpu_isa::avx512_core_amx;
  }();
  return native;
}

}  // namespace

bool has_kernel(const CpuBackend&, const LinearArgs& args) {
  return args.x.dim(1) > 0;
}

void run_kernel(CpuBackend& cpu, ExecContext& ctx, const LinearArgs& args) {
  const std::int64_t rows = args.x.dim(0);
  const std::int64_t inner = args.x.dim(1);
  const std::int64_t columns = args.weight.dim(0);
  if (rows == 0 || columns == 0) return;
  const Workspace::Scope scope(ctx.workspace);
  LinearArgs f32 = args;
  if (args.bias) f32.bias = as_f32(cpu.kernels(), cpu.threads(), ctx.workspace, args.bias);
  if (args.out.dtype() != DType::kF32) f32.out = ctx.workspace.take(DType::kF32, args.out.shape());

  if (args.weight.dtype() == DType::kF32) {
    f32.x = as_f32(cpu.kernels(), cpu.threads(), ctx.workspace, args.x);
    if (rows <= kFewRows)
      multiply_few_rows(cpu.kernels(), cpu.threads(), f32);
    else
      multiply(cpu.primitives(), cpu.threads(), ctx.workspace, f32);
  } else if (multiplies_bf16()) {
    if (args.x.dtype() == DType::kF32) {
      f32.x = ctx.workspace.take(DType::kBF16, args.x.shape());
      for_each_row(cpu.threads(), rows, inner, [&](std::int64_t m) {
        cpu.kernels().f32_to_bf16(args.x.as<float>() + m * args.x.stride(0), bf16_bits(f32.x) + m * inner,
                                  inner);
      });
    }
    multiply(cpu.primitives(), cpu.threads(), ctx.workspace, f32);
  } else {
    f32.x = copy_as_f32(cpu.kernels(), cpu.threads(), ctx.workspace, args.x);
    if (args.x.dtype() == DType::kF32)
      for_each_row(cpu.threads(), rows, inner, [&](std::int64_t m) {
        float* row = f32.x.as<float>() + m * inner;
        cpu.kernels().round_to_bf16(row, row, inner);
      });
    const std::int64_t tile = std::clamp<std::int64_t>(kWeightTile / inner / 64 * 64, 64, columns + 63);
    for (std::int64_t begin = 0; begin < columns; begin += tile) {
      const std::int64_t end = std::min(columns, begin + tile);
      const Workspace::Scope tile_scope(ctx.workspace);
      LinearArgs part = f32;
      part.weight =
          copy_as_f32(cpu.kernels(), cpu.threads(), ctx.workspace, args.weight.slice(0, begin, end));
      part.out = f32.out.slice(1, begin, end);
      if (args.bias) part.bias = f32.bias.slice(0, begin, end);
      multiply(cpu.primitives(), cpu.threads(), ctx.workspace, part);
    }
  }
  if (args.activation != ActivationKind::kNone || args.out.dtype() != DType::kF32)
    finish_rows(cpu.kernels(), cpu.threads(), f32, args.out);
}

}  // namespace wan
