#include "models/video_vae/strip_exchange.h"

#include <vector>

#include "ops/backend.h"
#include "ops/copy.h"
#include "ops/fill_zero.h"

namespace wan {

namespace {

/// One view a rank, of no bytes.
std::vector<TensorView> nothing(const ExecContext& ctx, const Strip& strip) {
  const TensorView empty(nullptr, DType::kF32, {0}, ctx.backend.device());
  return std::vector<TensorView>(static_cast<std::size_t>(strip.ranks()), empty);
}

/// [T, H, W, C] -> [outer, lines of the divided side, inner].
TensorView lines_of(const Strip& strip, const TensorView& frames) {
  const Shape& shape = frames.shape();
  return frames.reshape(strip.divides_rows() ? Shape{shape[0], shape[1], shape[2] * shape[3]}
                                             : Shape{shape[0] * shape[1], shape[2], shape[3]});
}

/// Of contiguous memory that has room for `whole`, one after the other's, as many elements for each rank as its part has.
std::vector<TensorView> parts_in(const Strip& strip, const TensorView& whole) {
  std::vector<TensorView> parts;
  for (int rank = 0; rank < strip.ranks(); ++rank) {
    const Range theirs = strip.range(rank, whole.dim(0));
    parts.push_back(whole.slice(0, theirs.begin, theirs.end));
  }
  return parts;
}

/// Pictures of which each rank's part is contiguous, as parts of one whole.
void join_parts(ExecContext& ctx, const Strip& strip, const std::vector<TensorView>& parts,
                const TensorView& whole, int height_dim) {
  for (int rank = 0; rank < strip.ranks(); ++rank) {
    const TensorView target = strip.part_of(whole, height_dim, rank);
    copy(ctx, {.from = parts[static_cast<std::size_t>(rank)].reshape(target.shape()), .out = target});
  }
}

/// The line itself where it is contiguous, otherwise memory for it that is.
TensorView packed(ExecContext& ctx, const TensorView& line) {
  return line.is_contiguous() ? line : ctx.workspace.take(line.dtype(), line.shape());
}

void copy_unless_same(ExecContext& ctx, const TensorView& from, const TensorView& to) {
  if (from.data() != to.data()) copy(ctx, {.from = from, .out = to});
}

}  // namespace

EdgeLines edges_of(const Strip& strip, const TensorView& frames) {
  const TensorView lines = lines_of(strip, frames);
  return {lines.select(1, 0), lines.select(1, lines.dim(1) - 1)};
}

void exchange_edges(ExecContext& ctx, const Strip& strip, const EdgeLines& own, const EdgeLines& around) {
  const Workspace::Scope scope(ctx.workspace);
  struct Side {
    int neighbour;
    TensorView own, around;
    TensorView sent, received;  // the same in contiguous memory
  };
  Side sides[] = {{strip.rank() - 1, own.first, around.first, {}, {}},
                  {strip.rank() + 1, own.last, around.last, {}, {}}};
  const auto exists = [&](const Side& side) { return side.neighbour >= 0 && side.neighbour < strip.ranks(); };
  std::vector<TensorView> send = nothing(ctx, strip);
  std::vector<TensorView> receive = nothing(ctx, strip);
  for (Side& side : sides) {
    // Memory is taken at a border too, so that every rank takes as much.
    if (side.own) side.sent = packed(ctx, side.own);
    if (side.around) side.received = packed(ctx, side.around);
    if (!exists(side)) continue;
    if (side.own) {
      copy_unless_same(ctx, side.own, side.sent);
      send[static_cast<std::size_t>(side.neighbour)] = side.sent;
    }
    if (side.around) receive[static_cast<std::size_t>(side.neighbour)] = side.received;
  }
  ctx.communicator.all_to_all(send, receive);
  for (const Side& side : sides) {
    if (!side.around) continue;
    if (exists(side))
      copy_unless_same(ctx, side.received, side.around);
    else
      fill_zero(ctx, side.around);
  }
}

void exchange_halo(ExecContext& ctx, const Strip& strip, const TensorView& frames,
                   const SpatialPadding& halo) {
  const std::int64_t before = halo.top + halo.left;
  const std::int64_t after = halo.bottom + halo.right;
  if (before + after == 0) return;
  const TensorView lines = lines_of(strip, frames);
  const std::int64_t end = lines.dim(1);
  EdgeLines own;
  EdgeLines around;
  if (before > 0) {  // everyone's line before the first one is someone's last
    around.first = lines.select(1, 0);
    own.last = lines.select(1, end - after - 1);
  }
  if (after > 0) {
    around.last = lines.select(1, end - 1);
    own.first = lines.select(1, before);
  }
  exchange_edges(ctx, strip, own, around);
}

void gather_frames(ExecContext& ctx, const Strip& strip, const TensorView& part, const TensorView& whole) {
  const Workspace::Scope scope(ctx.workspace);
  std::vector<TensorView> send = nothing(ctx, strip);
  send[0] = part.reshape({part.elements()});
  if (!whole) return ctx.communicator.all_to_all(send, nothing(ctx, strip));
  const std::vector<TensorView> parts = parts_in(strip, ctx.workspace.take(part.dtype(), {whole.elements()}));
  ctx.communicator.all_to_all(send, parts);
  join_parts(ctx, strip, parts, whole, 1);
}

void gather_latents(ExecContext& ctx, const Strip& strip, const TensorView& part, const TensorView& whole) {
  const Workspace::Scope scope(ctx.workspace);
  const std::vector<TensorView> parts = parts_in(strip, ctx.workspace.take(part.dtype(), {whole.elements()}));
  ctx.communicator.all_gather(part.reshape({part.elements()}), parts);
  join_parts(ctx, strip, parts, whole, 2);
}

void gather_rows(ExecContext& ctx, const Strip& strip, const TensorView& rows, const TensorView& all) {
  ctx.communicator.all_gather(rows, parts_in(strip, all));
}

}  // namespace wan
