#include "nn/sequence_parallel.h"

#include <algorithm>
#include <cmath>

#include "nn/attention_ring.h"
#include "ops/attention.h"

namespace wan {

int head_groups(std::int64_t tokens, std::int64_t heads, int ranks, ExchangeSpeed speed) {
  const std::int64_t fewest = heads / ranks;  // that a rank has
  std::int64_t groups = 1;
  switch (speed) {
    case ExchangeSpeed::kAtOnce:
      break;
    case ExchangeSpeed::kDirect: {
      // With two groups half of the keys' way and of the output's are hidden besides, 0.8% of a pass at NVLink's speed, and one more time
      // a GPU's processors are not all busy to the end. Its 130 or so take 128 rows of a head at a time: from 45 such rounds on that costs
      // less.
      constexpr std::int64_t kRowsOfAGroup = 750'000;
      groups = std::min<std::int64_t>(tokens * fewest / kRowsOfAGroup, 2);
      break;
    }
    case ExchangeSpeed::kThroughHost: {
      // A tenth of that speed, or less: what is not hidden is the first group's way here and the last one's back. With five heads attention
      // still takes ten rounds at 832x480x81, and its last one a few hundredths of it.
      constexpr std::int64_t kHeadsOfAGroup = 5;
      constexpr std::int64_t kMostGroups = 4;
      groups = std::min(fewest / kHeadsOfAGroup, kMostGroups);
      break;
    }
  }
  return static_cast<int>(std::max<std::int64_t>(groups, 1));
}

SequenceParallelAttention::SequenceParallelAttention(ExecContext& ctx, const TokenLayout& layout, DType dtype,
                                                     std::int64_t heads, std::int64_t width)
    : ctx_(ctx),
      scope_(ctx.workspace),
      layout_(layout),
      communicator_(ctx.machines != nullptr ? ctx.machines->within : ctx.communicator),
      ranks_(ctx.machines != nullptr ? communicator_.size() : layout.ranks()),
      rank_(ctx.machines != nullptr ? communicator_.rank() : layout.rank()),
      heads_(heads) {
  if (ranks_ == 1) return;
  WAN_CHECK(heads >= ranks_, kInvalidArgument,
            "the model's {} attention heads cannot be divided over {} ranks; use at most {}", heads, ranks_,
            heads);
  std::int64_t tokens = 0;
  for (int rank = 0; rank < ranks_; ++rank) tokens += tokens_of(rank);
  if (ctx.machines == nullptr) groups_ = head_groups(tokens, heads, ranks_, communicator_.exchange_speed());
  const Range mine = even_share(heads, ranks_, rank_);
  for (Travelling* const tensor : {&value_, &query_, &key_, &out_})
    tensor->all = ctx.workspace.take(dtype, {tokens, mine.size(), width});
}

void SequenceParallelAttention::send_value(const TensorView& value) {
  value_.local = value;
  for (int group = 0; group < groups_; ++group) send(value_, group);
}

// What the first group waits for goes first: the other queries after the keys that it needs.
void SequenceParallelAttention::send_query(const TensorView& query) {
  query_.local = query;
  send(query_, 0);
}

void SequenceParallelAttention::send_key(const TensorView& key) {
  key_.local = key;
  send(key_, 0);
  for (int group = 1; group < groups_; ++group) {
    send(query_, group);
    send(key_, group);
  }
}

void SequenceParallelAttention::attend(const TensorView& out) {
  out_.local = out;
  const bool alone = ranks_ == 1;
  if (alone) out_.all = out;
  for (int group = 0; group < groups_; ++group) {
    for (const Travelling* const tensor : {&value_, &query_, &key_})
      if (!alone) tensor->groups[static_cast<std::size_t>(group)]->finish();
    attend_group(group);
    if (!alone)
      out_.groups.push_back(
          communicator_.begin_all_to_all(rows_by_rank(group_of(out_, group)), heads_by_rank(out, group)));
  }
  for (const auto& pending : out_.groups) pending->finish();
}

void SequenceParallelAttention::attend_group(int group) {
  const TensorView query = group_of(query_, group);
  const TensorView key = group_of(key_, group);
  const TensorView value = group_of(value_, group);
  const TensorView out = group_of(out_, group);
  if (ctx_.machines == nullptr) {
    attention(ctx_, {.q = query,
                     .k = key,
                     .v = value,
                     .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(query.dim(2)))),
                     .bias = {},
                     .key_bias = {},
                     .out = out});
    return;
  }
  std::vector<std::int64_t> tokens;  // of each machine
  for (const std::vector<int>& ranks : ctx_.machines->ranks) {
    tokens.push_back(0);
    for (const int rank : ranks) tokens.back() += layout_.share(rank).size();
  }
  ring_attention(
      ctx_,
      {.machines = ctx_.machines->across, .tokens = tokens, .q = query, .k = key, .v = value, .out = out});
}

std::int64_t SequenceParallelAttention::tokens_of(int rank) const {
  if (ctx_.machines == nullptr) return layout_.share(rank).size();
  const std::vector<int>& here = ctx_.machines->ranks[static_cast<std::size_t>(ctx_.machines->across.rank())];
  return layout_.share(here[static_cast<std::size_t>(rank)]).size();
}

Range SequenceParallelAttention::heads_of(int rank, int group) const {
  const Range heads = even_share(heads_, ranks_, rank);
  const Range part = even_share(heads.size(), groups_, group);
  return {heads.begin + part.begin, heads.begin + part.end};
}

TensorView SequenceParallelAttention::group_of(const Travelling& tensor, int group) const {
  const Range heads = heads_of(rank_, group);
  const std::int64_t first = even_share(heads_, ranks_, rank_).begin;
  return tensor.all.slice(1, heads.begin - first, heads.end - first);
}

std::vector<TensorView> SequenceParallelAttention::heads_by_rank(const TensorView& local, int group) const {
  std::vector<TensorView> views;
  for (int rank = 0; rank < ranks_; ++rank) {
    const Range heads = heads_of(rank, group);
    views.push_back(local.slice(1, heads.begin, heads.end));
  }
  return views;
}

std::vector<TensorView> SequenceParallelAttention::rows_by_rank(const TensorView& rows) const {
  std::vector<TensorView> views;
  std::int64_t begin = 0;
  for (int rank = 0; rank < ranks_; ++rank) {
    const std::int64_t end = begin + tokens_of(rank);
    views.push_back(rows.slice(0, begin, end));
    begin = end;
  }
  return views;
}

void SequenceParallelAttention::send(Travelling& tensor, int group) {
  if (ranks_ == 1) {
    tensor.all = tensor.local;
    return;
  }
  tensor.groups.push_back(communicator_.begin_all_to_all(heads_by_rank(tensor.local, group),
                                                         rows_by_rank(group_of(tensor, group))));
}

void gather_tokens(ExecContext& ctx, const TokenLayout& layout, const TensorView& local,
                   const TensorView& all) {
  std::vector<TensorView> views;
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    const Range share = layout.share(rank);
    views.push_back(all.slice(0, share.begin, share.end));
  }
  ctx.communicator.all_gather(local, views);
}

}  // namespace wan
