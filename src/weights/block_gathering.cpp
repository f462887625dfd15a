#include "weights/block_gathering.h"

#include <utility>

namespace wan {

namespace {

TensorView as_bytes(std::byte* memory, std::size_t count, Device device) {
  return {memory, DType::kU8, Shape{static_cast<std::int64_t>(count)}, device};
}

std::vector<BlockId> divided_blocks(const std::vector<BlockGroup>& groups) {
  std::vector<BlockId> blocks;
  for (int group = 0; group < static_cast<int>(groups.size()); ++group) {
    const BlockGroup& model = groups[static_cast<std::size_t>(group)];
    for (int index = 0; index < model.count; ++index)
      if (model.share.shards && model.share.shards->divides(index)) blocks.push_back({group, index});
  }
  return blocks;
}

}  // namespace

void BlockGathering::load_shares(const std::function<std::function<void()>()>& mark_use,
                                 const std::function<void(std::size_t done)>& progress) {
  const std::vector<BlockId> blocks = divided_blocks(loader_.groups());
  const auto run_of = [&](BlockId id) {
    const BlockShare& share = loader_.group_of(id).share;
    return share.shards->run_of(loader_.bytes_of(id), share.rank);
  };
  std::vector<Buffer> pieces;
  for (const BlockId id : blocks)
    pieces.emplace_back(loader_.allocator(), static_cast<std::size_t>(run_of(id).size()));
  // A device's allocator may give out what work that is enqueued still uses.
  if (mark_use)
    if (const std::function<void()> wait_until_unused = mark_use()) wait_until_unused();
  ReadAhead ahead;
  std::size_t done = 0;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const bool followed = i + 1 < blocks.size() && blocks[i + 1].group == blocks[i].group;
    loader_.load_run(blocks[i], run_of(blocks[i]), pieces[i].data(),
                     followed ? std::optional(blocks[i + 1]) : std::nullopt, ahead);
    done += pieces[i].size();
    if (progress) progress(done);
  }
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const BlockShare& share = loader_.group_of(blocks[i]).share;
    share.shards->put(blocks[i].index, share.rank, std::move(pieces[i]));
  }
}

bool BlockGathering::gather(BlockId id, std::byte* memory) const {
  const BlockShare& share = loader_.group_of(id).share;
  if (!share.shards) return false;
  const std::vector<BlockShards::Piece> pieces = share.shards->pieces(id.index);
  const Device device = loader_.allocator().device();
  // From this rank's own on, so that not all ranks read from one.
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto from = (static_cast<std::size_t>(share.rank) + i) % pieces.size();
    const Buffer& piece = *pieces[from];
    const Range run = share.shards->run_of(loader_.bytes_of(id), static_cast<int>(from));
    if (piece.size() == 0) continue;
    copy_(as_bytes(piece.data(), piece.size(), piece.device()),
          as_bytes(memory + run.begin, piece.size(), device));
  }
  return !pieces.empty();
}

void BlockGathering::give_up(BlockId id) noexcept {
  const BlockShare& share = loader_.group_of(id).share;
  if (share.shards) share.shards->give_up(id.index, share.rank);
}

}  // namespace wan
