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

/// The primitive of product and bias; x and weight have one type, bias and out are f32.
std::shared_ptr<CachedPrimitive> product_of(PrimitiveCache& cache, int threads, const LinearArgs& args) {
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
  return with_dnnl_errors("linear",
                          [&] { return cache.get(key, [&] { return make_matmul(cache.engine(), args); }); });
}

void multiply(PrimitiveCache& cache, int threads, Workspace& workspace, const LinearArgs& args) {
  const OpenMpThreads team(threads);
  const auto primitive = product_of(cache, threads, args);
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
                     const float* x = args.x.as<float>() + m * args.x.stride(0);
                     if (args.weight.dtype() == DType::kBF16)
                       kernels.dot_rows_bf16(x, bf16_bits(args.weight) + begin * inner, out, count, inner);
                     else
                       kernels.dot_rows(x, args.weight.as<float>() + begin * inner, out, count, inner);
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
    if (args.activation == ActivationKind::kGelu) kernels.gelu(row, row, columns);
    if (args.activation == ActivationKind::kLeakyReLU) kernels.leaky_relu(row, row, columns);
    if (args.activation == ActivationKind::kReLU) kernels.relu(row, row, columns);
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

/// How a product is done.
enum class LinearWay {
  kDots,         // for a few rows
  kF32,          // of f32 weights
  kBf16,         // of bf16 weights, by instructions for them
  kWeightTiles,  // of bf16 weights, some of which are converted at a time
};

LinearWay way_of(const LinearArgs& args) {
  if (args.x.dim(0) <= kFewRows) return LinearWay::kDots;
  if (args.weight.dtype() == DType::kF32) return LinearWay::kF32;
  return multiplies_bf16() ? LinearWay::kBf16 : LinearWay::kWeightTiles;
}

/// Whether rows in f32 are rounded to bf16 for a product in f32.
bool rounds_rows(const LinearArgs& args, LinearWay way) {
  return args.weight.dtype() == DType::kBF16 && way != LinearWay::kBf16;
}

/// `args` with bias, x and out in memory of the workspace where they are of another type than the product's.
LinearArgs take_converted(Workspace& workspace, const LinearArgs& args, LinearWay way) {
  LinearArgs product = args;
  if (args.bias) product.bias = take_f32(workspace, args.bias);
  product.out = take_f32(workspace, args.out);
  if (way == LinearWay::kBf16) {
    if (args.x.dtype() == DType::kF32) product.x = workspace.take(DType::kBF16, args.x.shape());
  } else {
    // Rows that are rounded to bf16 are never the caller's own.
    product.x =
        rounds_rows(args, way) ? workspace.take(DType::kF32, args.x.shape()) : take_f32(workspace, args.x);
  }
  return product;
}

std::int64_t tile_columns(const LinearArgs& args) {
  const std::int64_t columns = args.weight.dim(0);
  return std::min(columns, std::clamp<std::int64_t>(kWeightTile / args.x.dim(1) / 64 * 64, 64, columns + 63));
}

/// The product with columns [begin, end) of the result, their weights in f32 memory of the workspace.
LinearArgs take_tile(Workspace& workspace, const LinearArgs& product, std::int64_t begin, std::int64_t end) {
  LinearArgs part = product;
  part.weight = workspace.take(DType::kF32, {end - begin, product.weight.dim(1)});
  part.out = product.out.slice(1, begin, end);
  if (product.bias) part.bias = product.bias.slice(0, begin, end);
  return part;
}

}  // namespace

bool has_kernel(const CpuBackend&, const LinearArgs& args) {
  return args.x.dim(1) > 0;
}

void CpuBackend::take_scratch_op(Workspace& workspace, const LinearArgs& args) {
  if (args.out.elements() == 0) return;
  const LinearWay way = way_of(args);
  LinearArgs product = take_converted(workspace, args, way);
  if (way == LinearWay::kWeightTiles) product = take_tile(workspace, product, 0, tile_columns(args));
  if (way != LinearWay::kDots) product_of(primitives_, threads_, product)->take_scratchpad(workspace);
}

void run_kernel(CpuBackend& cpu, ExecContext& ctx, const LinearArgs& args) {
  const std::int64_t rows = args.x.dim(0);
  const std::int64_t inner = args.x.dim(1);
  const std::int64_t columns = args.weight.dim(0);
  if (rows == 0 || columns == 0) return;
  const Workspace::Scope scope(ctx.workspace);
  const LinearWay way = way_of(args);
  const LinearArgs product = take_converted(ctx.workspace, args, way);
  const auto convert = [&](const TensorView& from, const TensorView& to) {
    if (from.data() != to.data()) copy_to_f32(cpu.kernels(), cpu.threads(), from, to);
  };
  if (args.bias) convert(args.bias, product.bias);
  if (way != LinearWay::kBf16) {
    convert(args.x, product.x);
  } else if (args.x.dtype() == DType::kF32) {
    for_each_row(cpu.threads(), rows, inner, [&](std::int64_t m) {
      cpu.kernels().f32_to_bf16(args.x.as<float>() + m * args.x.stride(0), bf16_bits(product.x) + m * inner,
                                inner);
    });
  }

  if (rounds_rows(args, way) && args.x.dtype() == DType::kF32)
    for_each_row(cpu.threads(), rows, inner, [&](std::int64_t m) {
      float* row = product.x.as<float>() + m * inner;
      cpu.kernels().round_to_bf16(row, row, inner);
    });
  if (way == LinearWay::kDots) {
    multiply_few_rows(cpu.kernels(), cpu.threads(), product);
  } else if (way != LinearWay::kWeightTiles) {
    multiply(cpu.primitives(), cpu.threads(), ctx.workspace, product);
  } else {
    const std::int64_t tile = tile_columns(args);
    for (std::int64_t begin = 0; begin < columns; begin += tile) {
      const std::int64_t end = std::min(columns, begin + tile);
      const Workspace::Scope tile_scope(ctx.workspace);
      const LinearArgs part = take_tile(ctx.workspace, product, begin, end);
      convert(args.weight.slice(0, begin, end), part.weight);
      multiply(cpu.primitives(), cpu.threads(), ctx.workspace, part);
    }
  }
  if (args.activation != ActivationKind::kNone || args.out.dtype() != DType::kF32)
    finish_rows(cpu.kernels(), cpu.threads(), product, args.out);
}

// Of a group one after another: on a processor a product costs nothing to begin.

bool has_kernel(const CpuBackend& cpu, const LinearGroupArgs& args) {
  bool all = true;
  args.for_each([&](const LinearArgs& product) { all = all && has_kernel(cpu, product); });
  return all;
}

void CpuBackend::take_scratch_op(Workspace& workspace, const LinearGroupArgs& args) {
  args.for_each([&](const LinearArgs& product) {
    const Workspace::Scope scope(workspace);
    take_scratch_op(workspace, product);
  });
}

void run_kernel(CpuBackend& cpu, ExecContext& ctx, const LinearGroupArgs& args) {
  args.for_each([&](const LinearArgs& product) { run_kernel(cpu, ctx, product); });
  if (args.is_gated()) run_kernel(cpu, ctx, args.gating());
}

}  // namespace wan
