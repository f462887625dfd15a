#include "ops/copy.h"

#include <cstring>
#include <utility>

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/conversion.h"
#include "backends/cpu/parallel_for.h"

namespace wan {

namespace {

/// One dimension of both views.
struct Axis {
  std::int64_t size = 1;
  std::int64_t from = 0;  // strides in elements
  std::int64_t to = 0;
};

/// A copy as few nested loops as possible; the last axis is innermost.
struct Plan {
  std::array<Axis, Shape::kMaxRank + 1> axes;
  int count = 0;
  Axis& last() { return axes[static_cast<std::size_t>(count - 1)]; }
};

/// Leaves out axes of one element and joins those that follow each other without a gap on both sides.
Plan make_plan(const CopyArgs& args) {
  Plan plan;
  for (int i = 0; i < args.from.rank(); ++i) {
    const Axis axis{args.from.dim(i), args.from.stride(i), args.out.stride(i)};
    if (axis.size == 1) continue;
    if (plan.count > 0 && plan.last().from == axis.size * axis.from &&
        plan.last().to == axis.size * axis.to) {
      plan.last() = {plan.last().size * axis.size, axis.from, axis.to};
    } else {
      plan.axes[static_cast<std::size_t>(plan.count++)] = axis;
    }
  }
  if (plan.count == 0) plan.axes[static_cast<std::size_t>(plan.count++)] = {1, 1, 1};
  return plan;
}

template <typename T>
void copy_strided(const Axis& axis, const T* from, T* to) {
  for (std::int64_t i = 0; i < axis.size; ++i) to[i * axis.to] = from[i * axis.from];
}

/// Contiguous on one side along `rows` and on the other along `columns`: in squares that fit the cache.
template <typename T>
void copy_transposed(const Axis& rows, const Axis& columns, const T* from, T* to) {
  constexpr std::int64_t kBlock = 16;
  for (std::int64_t r0 = 0; r0 < rows.size; r0 += kBlock) {
    const std::int64_t r1 = std::min(rows.size, r0 + kBlock);
    for (std::int64_t c0 = 0; c0 < columns.size; c0 += kBlock) {
      const std::int64_t c1 = std::min(columns.size, c0 + kBlock);
      for (std::int64_t r = r0; r < r1; ++r)
        for (std::int64_t c = c0; c < c1; ++c)
          to[r * rows.to + c * columns.to] = from[r * rows.from + c * columns.from];
    }
  }
}

/// Copies elements of one size: the innermost one or two axes in a block, the outer ones in parallel.
template <typename T>
void copy_elements(int threads, Plan plan, const T* from, T* to) {
  const auto axis = [&](int i) -> Axis& { return plan.axes[static_cast<std::size_t>(i)]; };
  bool square = false;
  if (plan.last().from != 1 || plan.last().to != 1) {
    // Look for the axis along which the other side is contiguous, and make it the last but one.
    for (int i = 0; i + 1 < plan.count && !square; ++i) {
      if (axis(i).from != 1 && axis(i).to != 1) continue;
      for (int j = i; j + 2 < plan.count; ++j) std::swap(axis(j), axis(j + 1));
      square = true;
    }
  }
  const int inner = square ? 2 : 1;
  std::int64_t blocks = 1;
  for (int i = 0; i < plan.count - inner; ++i) blocks *= axis(i).size;
  std::int64_t block_size = plan.last().size;
  if (square) block_size *= axis(plan.count - 2).size;
  // Few large blocks: divide the first inner axis as well.
  Axis& split = axis(plan.count - inner);
  const std::int64_t whole = split.size;
  const std::int64_t pieces = blocks >= threads
                                  ? 1
                                  : std::clamp<std::int64_t>(blocks * block_size / kElementsPerThread, 1,
                                                             std::min<std::int64_t>(threads, whole));
  for_each_row(threads, blocks * pieces, block_size / pieces, [&, plan](std::int64_t index) {
    const std::int64_t begin = index % pieces * whole / pieces;
    const std::int64_t end = (index % pieces + 1) * whole / pieces;
    Axis part = plan.axes[static_cast<std::size_t>(plan.count - inner)];
    part.size = end - begin;
    const T* source = from + begin * part.from;
    T* target = to + begin * part.to;
    std::int64_t rest = index / pieces;
    for (int i = plan.count - inner - 1; i >= 0; --i) {
      const Axis& outer = plan.axes[static_cast<std::size_t>(i)];
      source += rest % outer.size * outer.from;
      target += rest % outer.size * outer.to;
      rest /= outer.size;
    }
    if (square)
      copy_transposed(part, plan.axes[static_cast<std::size_t>(plan.count - 1)], source, target);
    else if (part.from == 1 && part.to == 1)
      std::memcpy(target, source, static_cast<std::size_t>(part.size) * sizeof(T));
    else
      copy_strided(part, source, target);
  });
}

}  // namespace

bool has_kernel(const CpuBackend&, const CopyArgs& args) {
  if (args.from.dtype() == args.out.dtype()) return true;
  // Conversions between f32 and bf16 along contiguous rows; the composite does the rest.
  const auto convertible = [](const TensorView& v) {
    return (v.dtype() == DType::kF32 || v.dtype() == DType::kBF16) && v.rank() > 0 &&
           (v.dim(-1) == 1 || v.stride(v.rank() - 1) == 1);
  };
  return convertible(args.from) && convertible(args.out);
}

void run_kernel(CpuBackend& cpu, ExecContext&, const CopyArgs& args) {
  if (args.from.elements() == 0) return;
  Plan plan = make_plan(args);
  if (args.from.dtype() != args.out.dtype()) {
    const std::int64_t n = plan.last().size;
    std::int64_t rows = 1;
    for (int i = 0; i + 1 < plan.count; ++i) rows *= plan.axes[static_cast<std::size_t>(i)].size;
    for_each_row(cpu.threads(), rows, n, [&](std::int64_t row) {
      std::int64_t source = 0;
      std::int64_t target = 0;
      for (int i = plan.count - 2; i >= 0; --i) {
        const Axis& axis = plan.axes[static_cast<std::size_t>(i)];
        source += row % axis.size * axis.from;
        target += row % axis.size * axis.to;
        row /= axis.size;
      }
      if (args.from.dtype() == DType::kF32)
        cpu.kernels().f32_to_bf16(args.from.as<float>() + source, bf16_bits(args.out) + target, n);
      else
        cpu.kernels().bf16_to_f32(bf16_bits(args.from) + source, args.out.as<float>() + target, n);
    });
    return;
  }
  const auto with_type = [&]<typename T>(T) {
    copy_elements(cpu.threads(), plan, reinterpret_cast<const T*>(args.from.data()),
                  reinterpret_cast<T*>(args.out.data()));
  };
  switch (dtype_size(args.from.dtype())) {
    case 1:
      return with_type(std::uint8_t{});
    case 2:
      return with_type(std::uint16_t{});
    case 4:
      return with_type(std::uint32_t{});
    default:
      return with_type(std::uint64_t{});
  }
}

}  // namespace wan
