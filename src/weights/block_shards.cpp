#include "weights/block_shards.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace wan {

namespace {

constexpr std::int64_t kLine = 64;  // what blocks' sizes and weights are aligned to

}  // namespace

BlockShards::BlockShards(int ranks, int count, int divided)
    : ranks_(ranks), divided_(divided), blocks_(static_cast<std::size_t>(count)) {
  WAN_CHECK(ranks >= 1 && divided >= 0 && divided <= count, kInternal,
            "[block shards] {} of {} blocks over {} ranks", divided, count, ranks);
  for (Block& block : blocks_) {
    block.pieces.resize(static_cast<std::size_t>(ranks));
    block.given_up.resize(static_cast<std::size_t>(ranks));
  }
}

bool BlockShards::divides(int block) const {
  const auto count = static_cast<std::int64_t>(blocks_.size());
  const auto up_to = [&](std::int64_t blocks) { return blocks * divided_ / count; };
  return up_to(block + 1) > up_to(block);
}

Range BlockShards::run_of(std::size_t bytes, int rank) const {
  const Range lines = even_share(static_cast<std::int64_t>(bytes) / kLine, ranks_, rank);
  return {lines.begin * kLine, lines.end * kLine};
}

void BlockShards::put(int block, int rank, Buffer piece) {
  auto shared = std::make_shared<const Buffer>(std::move(piece));
  const std::lock_guard lock(mutex_);
  blocks_[static_cast<std::size_t>(block)].pieces[static_cast<std::size_t>(rank)] = std::move(shared);
}

std::vector<BlockShards::Piece> BlockShards::pieces(int block) const {
  const std::lock_guard lock(mutex_);
  const std::vector<Piece>& pieces = blocks_[static_cast<std::size_t>(block)].pieces;
  const bool whole = std::all_of(pieces.begin(), pieces.end(), [](const Piece& piece) { return piece; });
  return whole ? pieces : std::vector<Piece>{};
}

void BlockShards::give_up(int block, int rank) noexcept {
  const std::lock_guard lock(mutex_);
  Block& given = blocks_[static_cast<std::size_t>(block)];
  given.given_up[static_cast<std::size_t>(rank)] = true;
  if (std::all_of(given.given_up.begin(), given.given_up.end(), [](bool done) { return done; }))
    for (Piece& piece : given.pieces) piece.reset();
}

}  // namespace wan
