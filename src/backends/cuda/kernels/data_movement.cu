// Kernels that move elements: strided copies, rows by index, patches.

#include "backends/cuda/kernels/data_movement.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "backends/cuda/kernels/copy_plan.h"
#include "backends/cuda/kernels/device_math.h"
#include "backends/cuda/kernels/launch_types.h"

namespace wan::cuda {

/// Raw elements of 1, 2, 4, 8 or 16 bytes. Index: 32 bits where the counts allow, because division by a run-time number
/// is what this kernel spends its time on.
template <typename T, typename Index>
__global__ void copy_kernel(const T* from, T* out, CopyPlan plan) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= plan.count) return;
  auto rest = static_cast<Index>(thread);
  std::int64_t from_at = 0;
  std::int64_t out_at = 0;
  for (int d = plan.rank - 1; d > 0; --d) {
    const auto extent = static_cast<Index>(plan.extents[d]);
    const Index index = rest % extent;
    rest /= extent;
    from_at += static_cast<std::int64_t>(index) * plan.from_strides[d];
    out_at += static_cast<std::int64_t>(index) * plan.out_strides[d];
  }
  from_at += static_cast<std::int64_t>(rest) * plan.from_strides[0];
  out_at += static_cast<std::int64_t>(rest) * plan.out_strides[0];
  check_address(from + from_at, alignof(T));
  check_address(out + out_at, alignof(T));
  out[out_at] = from[from_at];
}

/// Zeros where a copy of this plan would write.
template <typename T, typename Index>
__global__ void zero_kernel(T* out, CopyPlan plan) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= plan.count) return;
  auto rest = static_cast<Index>(thread);
  std::int64_t out_at = 0;
  for (int d = plan.rank - 1; d > 0; --d) {
    const auto extent = static_cast<Index>(plan.extents[d]);
    out_at += static_cast<std::int64_t>(rest % extent) * plan.out_strides[d];
    rest /= extent;
  }
  out_at += static_cast<std::int64_t>(rest) * plan.out_strides[0];
  check_address(out + out_at, alignof(T));
  out[out_at] = T{};
}

/// A copy with a conversion; a pack is N elements of the last dimension, whose extent counts packs. From f16 or bf16 to
/// the other by way of f32, which holds both.
template <typename From, typename Out, typename Index, int N>
__global__ void convert_kernel(const From* from, Out* out, CopyPlan plan) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= plan.count) return;
  auto rest = static_cast<Index>(thread);
  std::int64_t from_at = 0;
  std::int64_t out_at = 0;
  for (int d = plan.rank - 1; d >= 0; --d) {
    const auto extent = static_cast<Index>(plan.extents[d]);
    const Index index = d > 0 ? rest % extent : rest;
    rest /= extent;
    from_at += static_cast<std::int64_t>(index) * plan.from_strides[d];
    out_at += static_cast<std::int64_t>(index) * plan.out_strides[d];
  }
  float values[N];
  load_pack<N>(from + from_at, values);
  store_pack<N>(out + out_at, values);
}

struct TokenIds {
  static constexpr int kMost = 256;  // 1 KB of the 4 KB that a launch carries
  int ids[kMost];
};

/// A block a row.
template <typename Table, typename Out, int N>
__global__ void embedding_kernel(const Table* table, TokenIds ids, Out* out, std::int64_t width) {
  const Table* from = table + static_cast<std::int64_t>(ids.ids[blockIdx.x]) * width;
  Out* to = out + static_cast<std::int64_t>(blockIdx.x) * width;
  for (std::int64_t c = std::int64_t{threadIdx.x} * N; c < width; c += std::int64_t{blockDim.x} * N) {
    float values[N];
    load_pack<N>(from + c, values);
    store_pack<N>(to + c, values);
  }
}

struct PatchGrid {
  std::int64_t channels, frames, height, width;  // of the latent
  int patch[3];
  std::int64_t first_token;
  std::int64_t token_stride;  // between rows of tokens
  std::int64_t count;         // elements of these tokens
};

/// kToTokens: tokens = latent, channel outermost in a token (patchify). Otherwise latent = tokens, channel innermost
/// (unpatchify). A thread an element, in the order of the tokens.
template <typename Token, bool kToTokens>
__global__ void patch_kernel(float* latent, Token* tokens, PatchGrid grid) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= grid.count) return;
  const std::int64_t volume = static_cast<std::int64_t>(grid.patch[0]) * grid.patch[1] * grid.patch[2];
  const std::int64_t token_width = grid.channels * volume;
  const std::int64_t row = thread / token_width;
  const std::int64_t column = thread % token_width;
  const std::int64_t channel = kToTokens ? column / volume : column % grid.channels;
  const std::int64_t inner = kToTokens ? column % volume : column / grid.channels;
  const std::int64_t d = inner % grid.patch[2];
  const std::int64_t b = inner / grid.patch[2] % grid.patch[1];
  const std::int64_t a = inner / grid.patch[2] / grid.patch[1];
  const std::int64_t rows = grid.height / grid.patch[1];
  const std::int64_t columns = grid.width / grid.patch[2];
  const std::int64_t n = grid.first_token + row;
  const std::int64_t f = n / (rows * columns) * grid.patch[0] + a;
  const std::int64_t y = n / columns % rows * grid.patch[1] + b;
  const std::int64_t x = n % columns * grid.patch[2] + d;
  const std::int64_t at = ((channel * grid.frames + f) * grid.height + y) * grid.width + x;
  Token* token = tokens + row * grid.token_stride + column;
  if constexpr (kToTokens)
    *token = from_f32<Token>(latent[at]);
  else
    latent[at] = to_f32(*token);
}

namespace {

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
  const auto threads = static_cast<unsigned>(std::min<std::int64_t>(kFlatThreads, (packs + 31) / 32 * 32));
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
