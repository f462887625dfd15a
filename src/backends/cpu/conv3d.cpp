#include "ops/conv3d.h"

#include <algorithm>

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/conversion.h"

namespace wan {

namespace {

using dnnl::memory;

/// What the primitive of a convolution depends on.
PrimitiveKey key_of(const Conv3dArgs& args, int threads) {
  const TensorView& x = args.x;
  const TensorView& w = args.weight;
  const SpatialPadding& pad = args.padding;
  return {'c',
          x.dim(0),
          x.dim(1),
          x.dim(2),
          x.dim(3),
          w.dim(0),
          w.dim(1),
          w.dim(2),
          w.dim(3),
          args.stride[0],
          args.stride[1],
          args.stride[2],
          pad.top,
          pad.bottom,
          pad.left,
          pad.right,
          args.bias ? 1 : 0,
          args.residual ? 1 : 0,
          static_cast<std::int64_t>(x.dtype()),
          threads};
}

/// f32 or bf16: of frames and weights alike. Sums are f32.
memory::data_type type_of(const TensorView& view) {
  return view.dtype() == DType::kF32 ? memory::data_type::f32 : memory::data_type::bf16;
}

memory::desc plain_weight(const TensorView& w) {
  return {{w.dim(0), w.dim(4), w.dim(1), w.dim(2), w.dim(3)}, type_of(w), memory::format_tag::odhwi};
}

/// Whether oneDNN has more than a plain loop for bf16 frames here.
bool convolves_bf16() {
  const auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  constexpr auto kNeeded = static_cast<unsigned>(dnnl::cpu_isa::avx512_core);
  return (isa & kNeeded) == kNeeded;
}

/// bf16 where everything is and the processor can; otherwise f32, whatever has to be converted for it.
DType product_type(const Conv3dArgs& args) {
  const auto is_bf16 = [](const TensorView& view) { return view.dtype() == DType::kBF16; };
  const bool all = is_bf16(args.x) && is_bf16(args.weight) && is_bf16(args.out);
  return all && convolves_bf16() ? DType::kBF16 : DType::kF32;
}

std::shared_ptr<CachedPrimitive> make_convolution(const dnnl::engine& engine, const Conv3dArgs& args) {
  const auto video = [](const TensorView& v) {
    return memory::desc({1, v.dim(3), v.dim(0), v.dim(1), v.dim(2)}, type_of(v), memory::format_tag::ndhwc);
  };
  const TensorView& w = args.weight;
  const memory::desc x = video(args.x);
  const memory::desc out = video(args.out);
  const memory::desc any_weight({w.dim(0), w.dim(4), w.dim(1), w.dim(2), w.dim(3)}, type_of(w),
                                memory::format_tag::any);
  const memory::dims strides{args.stride[0], args.stride[1], args.stride[2]};
  const memory::dims before{0, args.padding.top, args.padding.left};
  const memory::dims after{0, args.padding.bottom, args.padding.right};
  dnnl::primitive_attr attributes = user_scratchpad();
  if (args.residual) {
    dnnl::post_ops post;
    post.append_sum(1.0f);
    attributes.set_post_ops(post);
  }
  constexpr auto kInference = dnnl::prop_kind::forward_inference;
  constexpr auto kDirect = dnnl::algorithm::convolution_direct;
  const auto wrap = [&](const dnnl::convolution_forward::primitive_desc& description) {
    std::vector<CachedPrimitive::Argument> arguments{{DNNL_ARG_SRC, description.src_desc()},
                                                     {DNNL_ARG_WEIGHTS, description.weights_desc()},
                                                     {DNNL_ARG_DST, description.dst_desc()}};
    if (args.bias) arguments.push_back({DNNL_ARG_BIAS, description.bias_desc()});
    return std::make_shared<CachedPrimitive>(engine, dnnl::convolution_forward(description), arguments,
                                             description.scratchpad_desc());
  };
  if (!args.bias)
    return wrap({{kInference, kDirect, x, any_weight, out, strides, before, after}, attributes, engine});
  const memory::desc bias({w.dim(0)}, memory::data_type::f32, memory::format_tag::a);
  return wrap({{kInference, kDirect, x, any_weight, bias, out, strides, before, after}, attributes, engine});
}

std::shared_ptr<CachedPrimitive> make_reorder(const dnnl::engine& engine, const memory::desc& from,
                                              const memory::desc& to) {
  const dnnl::reorder::primitive_desc description(engine, from, engine, to, user_scratchpad());
  return std::make_shared<CachedPrimitive>(
      engine, dnnl::reorder(description),
      std::vector<CachedPrimitive::Argument>{{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}},
      description.scratchpad_desc());
}

bool frames_contiguous(const TensorView& v) {
  return v.dim(0) == 1 || v.stride(0) == v.dim(1) * v.dim(2) * v.dim(3);
}

}  // namespace

bool has_kernel(const CpuBackend&, const Conv3dArgs& args) {
  return args.x.dim(3) > 0;
}

void run_kernel(CpuBackend& cpu, ExecContext& ctx, const Conv3dArgs& args) {
  if (args.out.elements() == 0) return;
  const Workspace::Scope scope(ctx.workspace);
  const OpenMpThreads team(cpu.threads());
  const DType type = product_type(args);
  const auto packs = [&](const TensorView& view) { return view.dtype() != type || !frames_contiguous(view); };
  Conv3dArgs packed = args;
  if (args.weight.dtype() != type)
    packed.weight = as_f32(cpu.kernels(), cpu.threads(), ctx.workspace, args.weight);
  if (packs(args.x)) {
    packed.x = ctx.workspace.take(type, args.x.shape());
    cpu.run(ctx, CopyArgs{args.x, packed.x});
  }
  if (packs(args.out)) packed.out = ctx.workspace.take(type, args.out.shape());
  // The residual is added to what out holds.
  if (args.residual && args.residual.data() != packed.out.data())
    cpu.run(ctx, CopyArgs{args.residual, packed.out});

  const auto primitive = with_dnnl_errors("conv3d", [&] {
    return cpu.primitives().get(key_of(packed, cpu.threads()),
                                [&] { return make_convolution(cpu.primitives().engine(), packed); });
  });
  // oneDNN's weight layout depends on the sizes of the video too, so that it is made here and not when the
  // model is loaded: 0.3% of the time of a 384-channel layer at 90x160, 7% of a 64-channel one at 16x16.
  const memory::desc& wanted = primitive->description(1);
  const memory::desc given = plain_weight(packed.weight);
  const void* weight = packed.weight.data();
  if (wanted != given) {
    const TensorView blocked = ctx.workspace.take(DType::kU8, {static_cast<std::int64_t>(wanted.get_size())});
    const auto reorder = with_dnnl_errors("conv3d", [&] {
      PrimitiveKey key = key_of(packed, cpu.threads());
      key.set_kind('r');
      return cpu.primitives().get(key,
                                  [&] { return make_reorder(cpu.primitives().engine(), given, wanted); });
    });
    reorder->execute(ctx.workspace, {weight, blocked.data()});
    weight = blocked.data();
  }
  if (args.bias)
    primitive->execute(ctx.workspace, {packed.x.data(), weight, packed.out.data(), args.bias.data()});
  else
    primitive->execute(ctx.workspace, {packed.x.data(), weight, packed.out.data()});
  if (packed.out.data() != args.out.data()) cpu.run(ctx, CopyArgs{packed.out, args.out});
}

}  // namespace wan
