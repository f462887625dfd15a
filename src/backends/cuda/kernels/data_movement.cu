#include "backends/cuda/kernels/data_movement.h"

#include <algorithm>
#include <limits>

#include "backends/cuda/kernels/copy_plan.h"
#include "backends/cuda/kernels/data_movement_kernels.h"
#include "backends/cuda/kernels/launch_types.h"

namespace wan::cuda {

namespace {

constexpr int kThreads = 256;

LaunchShape thread_each(std::int64_t count) {
  return {dim3(blocks_for(count, kThreads)), dim3(kThreads)};
}

bool fits_32_bits(const CopyPlan& plan) {
  return plan.count <= std::numeric_limits<std::int32_t>::max();
}

/// Strides from elements to 16-byte pieces.
CopyPlan in_pieces(CopyPlan plan, int pack) {
  for (int d = 0; d < plan.rank; ++d) {
    plan.from_strides[d] /= pack;
    plan.out_strides[d] /= pack;
  }
  return plan;
}

/// visit(Tag<T>(), plan) for T as wide as layouts and addresses allow, plan in elements of T.
template <typename Visit>
void with_raw_type(const TensorView& from, const TensorView& out, CopyPlan plan, Visit&& visit) {
  const auto size = static_cast<int>(dtype_size(out.dtype()));
  if (take_packs(plan, from, out, {16 / size, 16, 16}))
    return visit(Tag<uint4>(), in_pieces(plan, 16 / size));
  switch (size) {
    case 1:
      return visit(Tag<std::uint8_t>(), plan);
    case 2:
      return visit(Tag<std::uint16_t>(), plan);
    case 4:
      return visit(Tag<std::uint32_t>(), plan);
    default:
      return visit(Tag<std::uint64_t>(), plan);
  }
}

template <typename From, typename Out>
void convert(cudaStream_t stream, const TensorView& from, const TensorView& out, CopyPlan plan) {
  constexpr int kWide = 8;
  const bool wide = take_packs(plan, from, out, {kWide, 16, 16});
  const auto run = [&](auto kernel) {
    launch(stream, thread_each(plan.count), kernel, reinterpret_cast<const From*>(from.data()),
           reinterpret_cast<Out*>(out.data()), plan);
  };
  if (!fits_32_bits(plan))
    return run(wide ? convert_kernel<From, Out, std::uint64_t, kWide>
                    : convert_kernel<From, Out, std::uint64_t, 1>);
  run(wide ? convert_kernel<From, Out, std::uint32_t, kWide> : convert_kernel<From, Out, std::uint32_t, 1>);
}

template <typename Visit>
void with_float_type(DType dtype, Visit&& visit) {
  if (dtype == DType::kF16) return visit(Tag<Half>());
  with_activation_type(dtype, visit);
}

template <bool kToTokens>
void launch_patches(cudaStream_t stream, const TensorView& latent, const PatchSize& patch,
                    std::int64_t first_token, const TensorView& tokens) {
  PatchGrid grid{};
  grid.channels = latent.dim(0);
  grid.frames = latent.dim(1);
  grid.height = latent.dim(2);
  grid.width = latent.dim(3);
  std::copy(patch.begin(), patch.end(), grid.patch);
  grid.first_token = first_token;
  grid.token_stride = row_stride(tokens);
  grid.count = tokens.elements();
  with_activation_type(tokens.dtype(), [&](auto tag) {
    using Token = typename decltype(tag)::type;
    launch(stream, thread_each(grid.count), patch_kernel<Token, kToTokens>, latent.as<float>(),
           reinterpret_cast<Token*>(tokens.data()), grid);
  });
}

}  // namespace

void launch_copy(cudaStream_t stream, const CopyArgs& args) {
  if (args.out.elements() == 0) return;
  const CopyPlan plan = make_copy_plan(args.from, args.out);
  if (args.from.dtype() == args.out.dtype())
    return with_raw_type(args.from, args.out, plan, [&](auto tag, const CopyPlan& in_elements) {
      using T = typename decltype(tag)::type;
      launch(stream, thread_each(in_elements.count),
             fits_32_bits(in_elements) ? copy_kernel<T, std::uint32_t> : copy_kernel<T, std::uint64_t>,
             reinterpret_cast<const T*>(args.from.data()), reinterpret_cast<T*>(args.out.data()),
             in_elements);
    });
  with_float_type(args.from.dtype(), [&](auto from_tag) {
    with_float_type(args.out.dtype(), [&](auto out_tag) {
      convert<typename decltype(from_tag)::type, typename decltype(out_tag)::type>(stream, args.from,
                                                                                   args.out, plan);
    });
  });
}

void launch_fill_zero(cudaStream_t stream, const TensorView& view) {
  if (view.elements() == 0) return;
  const CopyPlan plan = make_copy_plan(view, view);
  with_raw_type(view, view, plan, [&](auto tag, const CopyPlan& in_elements) {
    using T = typename decltype(tag)::type;
    launch(stream, thread_each(in_elements.count),
           fits_32_bits(in_elements) ? zero_kernel<T, std::uint32_t> : zero_kernel<T, std::uint64_t>,
           reinterpret_cast<T*>(view.data()), in_elements);
  });
}

void launch_embedding(cudaStream_t stream, const TensorView& table, std::span<const std::int64_t> ids,
                      const TensorView& out) {
  const std::int64_t width = table.dim(1);
  const bool wide = packs_fit({table, out}, 8);
  const std::int64_t packs = width / (wide ? 8 : 1);
  const auto threads = static_cast<unsigned>(std::min<std::int64_t>(kThreads, (packs + 31) / 32 * 32));
  for (std::size_t first = 0; first < ids.size(); first += TokenIds::kMost) {
    const std::size_t count = std::min<std::size_t>(TokenIds::kMost, ids.size() - first);
    TokenIds group{};
    for (std::size_t i = 0; i < count; ++i) group.ids[i] = static_cast<int>(ids[first + i]);
    const TensorView rows =
        out.slice(0, static_cast<std::int64_t>(first), static_cast<std::int64_t>(first + count));
    with_activation_type(table.dtype(), [&](auto table_tag) {
      with_activation_type(out.dtype(), [&](auto out_tag) {
        using Table = typename decltype(table_tag)::type;
        using Out = typename decltype(out_tag)::type;
        launch(stream, {dim3(static_cast<unsigned>(count)), dim3(threads)},
               wide ? embedding_kernel<Table, Out, 8> : embedding_kernel<Table, Out, 1>,
               reinterpret_cast<const Table*>(table.data()), group, reinterpret_cast<Out*>(rows.data()),
               width);
      });
    });
  }
}

void launch_patchify(cudaStream_t stream, const PatchifyArgs& args) {
  launch_patches<true>(stream, args.latent, args.patch, args.first_token, args.tokens);
}

void launch_unpatchify(cudaStream_t stream, const UnpatchifyArgs& args) {
  launch_patches<false>(stream, args.latent, args.patch, args.first_token, args.tokens);
}

}  // namespace wan::cuda
