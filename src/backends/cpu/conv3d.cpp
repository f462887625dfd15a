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

/// `args` with weight, x and out in memory of the workspace where oneDNN cannot take them as they are.
Conv3dArgs take_packed(Workspace& workspace, const Conv3dArgs& args) {
  const DType type = product_type(args);
  const auto pack = [&](const TensorView& view) {
    return view.dtype() == type && frames_contiguous(view) ? view : workspace.take(type, view.shape());
  };
  Conv3dArgs packed = args;
  if (args.weight.dtype() != type) packed.weight = take_f32(workspace, args.weight);
  packed.x = pack(args.x);
  packed.out = pack(args.out);
  return packed;
}

/// A convolution with what puts its weights in the layout that it wants.
struct Convolution {
  std::shared_ptr<CachedPrimitive> primitive;
  std::shared_ptr<CachedPrimitive> reorder;  // nullptr where they lie so

  /// Memory for the reordered weights.
  TensorView take_weights(Workspace& workspace) const {
    const auto bytes = static_cast<std::int64_t>(primitive->description(1).get_size());
    return workspace.take(DType::kU8, {bytes});
  }
};

// oneDNN's weight layout depends on the sizes of the video too, so that it is made in each call and not when the model is
// loaded: 0.3% of the time of a 384-channel layer at 90x160, 7% of a 64-channel one at 16x16.
Convolution convolution_of(PrimitiveCache& cache, int threads, const Conv3dArgs& packed) {
  const OpenMpThreads team(threads);
  return with_dnnl_errors("conv3d", [&] {
    PrimitiveKey key = key_of(packed, threads);
    Convolution made{cache.get(key, [&] { return make_convolution(cache.engine(), packed); }), nullptr};
    const memory::desc wanted = made.primitive->description(1);
    const memory::desc given = plain_weight(packed.weight);
    if (wanted == given) return made;
    key.set_kind('r');
    made.reorder = cache.get(key, [&] { return make_reorder(cache.engine(), given, wanted); });
    return made;
  });
}

}  // namespace

bool has_kernel(const CpuBackend&, const Conv3dArgs& args) {
  return args.x.dim(3) > 0;
}

void CpuBackend::take_scratch_op(Workspace& workspace, const Conv3dArgs& args) {
  if (args.out.elements() == 0) return;
  const Convolution convolution = convolution_of(primitives_, threads_, take_packed(workspace, args));
  if (convolution.reorder) {
    convolution.take_weights(workspace);
    const Workspace::Scope scope(workspace);
    convolution.reorder->take_scratchpad(workspace);
  }
  convolution.primitive->take_scratchpad(workspace);
}

void run_kernel(CpuBackend& cpu, ExecContext& ctx, const Conv3dArgs& args) {
  if (args.out.elements() == 0) return;
  const Workspace::Scope scope(ctx.workspace);
  const OpenMpThreads team(cpu.threads());
  const Conv3dArgs packed = take_packed(ctx.workspace, args);
  if (packed.weight.data() != args.weight.data())
    copy_to_f32(cpu.kernels(), cpu.threads(), args.weight, packed.weight);
  if (packed.x.data() != args.x.data()) cpu.run(ctx, CopyArgs{args.x, packed.x});
  // The residual is added to what out holds.
  if (args.residual && args.residual.data() != packed.out.data())
    cpu.run(ctx, CopyArgs{args.residual, packed.out});

  const Convolution convolution = convolution_of(cpu.primitives(), cpu.threads(), packed);
  const void* weight = packed.weight.data();
  if (convolution.reorder) {
    const TensorView blocked = convolution.take_weights(ctx.workspace);
    convolution.reorder->execute(ctx.workspace, {weight, blocked.data()});
    weight = blocked.data();
  }
  CachedPrimitive& primitive = *convolution.primitive;
  if (args.bias)
    primitive.execute(ctx.workspace, {packed.x.data(), weight, packed.out.data(), args.bias.data()});
  else
    primitive.execute(ctx.workspace, {packed.x.data(), weight, packed.out.data()});
  if (packed.out.data() != args.out.data()) cpu.run(ctx, CopyArgs{packed.out, args.out});
}

}  // namespace wan
