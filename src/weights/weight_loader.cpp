#include "weights/weight_loader.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <utility>
#include <vector>

#include "weights/convert.h"
#include "weights/packed_source.h"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace wan {

namespace {

struct Piece {
  const WeightLoad& weight;  // all of it
  std::int64_t first;
  TensorView destination;

  /// As many elements as `to` has, or packed bytes, from the piece's number `from` on, on the host.
  void read(std::int64_t from, const TensorView& to) const {
    if (weight.packed)
      return read_packed(weight.entry, *weight.packed, static_cast<std::size_t>(first + from), to.bytes(),
                         to.data());
    convert_changed(weight.entry, first + from, to);
  }
};

std::vector<Piece> pieces_of(std::span<const WeightLoad> weights) {
  std::vector<Piece> pieces;
  for (const WeightLoad& weight : weights) {
    const std::int64_t elements = weight.destination.elements();
    const TensorView row = weight.destination.reshape({elements});
    const auto step = static_cast<std::int64_t>(kWeightPieceBytes / dtype_size(row.dtype()));
    for (std::int64_t first = 0; first < elements; first += step)
      pieces.push_back({weight, weight.first + first, row.slice(0, first, std::min(first + step, elements))});
  }
  return pieces;
}

int thread_count([[maybe_unused]] const WeightTarget& target, std::size_t pieces) {
#ifdef _OPENMP
  const int most = target.threads > 0 ? target.threads : omp_get_max_threads() / target.loaders;
  return std::max(1, static_cast<int>(std::min(static_cast<std::size_t>(most), pieces)));
#else
  return 1;
#endif
}

/// Calls fill(piece) for each on so many threads, in order; after one has thrown, for no more.
template <typename Fill>
void for_each_piece(std::span<const Piece> pieces, [[maybe_unused]] int threads, const Fill& fill) {
  std::exception_ptr error;
  std::atomic<bool> failed{false};
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) schedule(dynamic) if (threads > 1)
#endif
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (failed.load(std::memory_order_relaxed)) continue;
    try {
      fill(pieces[i]);
    } catch (...) {
      if (!failed.exchange(true)) error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace

WeightLoader::WeightLoader(WeightTarget target) : target_(std::move(target)) {
  WAN_CHECK(target_.allocator->device().kind == DeviceKind::kCpu || target_.upload != nullptr, kInternal,
            "[weights] a target on {} needs an upload function", to_string(target_.allocator->device()));
}

void WeightLoader::load(std::span<const WeightLoad> weights) const {
  if (target_.fill) {
    for (const WeightLoad& weight : weights) {
      WAN_CHECK(!weight.packed && weight.entry.elements() == weight.destination.elements(), kInternal,
                "[weights] a part of {} of a target that takes whole tensors", weight.entry.name);
      target_.fill(weight.entry.view(), weight.destination);
    }
    return;
  }
  const std::vector<Piece> pieces = pieces_of(weights);
  for_each_piece(pieces, thread_count(target_, pieces.size()), [&](const Piece& piece) {
    if (piece.destination.device().kind == DeviceKind::kCpu) {
      piece.read(0, piece.destination);
      return;
    }
    const DType dtype = piece.destination.dtype();
    const auto size = static_cast<std::int64_t>(dtype_size(dtype));
    target_.upload(
        [&](std::byte* host, std::size_t first, std::size_t count) {
          const Shape elements{static_cast<std::int64_t>(count) / size};
          piece.read(static_cast<std::int64_t>(first) / size, TensorView(host, dtype, elements));
        },
        piece.destination);
  });
}

}  // namespace wan
