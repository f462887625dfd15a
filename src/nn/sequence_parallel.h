#pragma once
// Self-attention over a sequence whose tokens are divided over ranks (Ulysses): all-to-all turns "my tokens, all heads"
// into "all tokens, my heads" and back. On one rank it is plain attention. Where the ranks are on several machines (ExecContext::machines)
// all that is Ulysses's goes on within each of them, on its ranks and their tokens, and attention itself goes round them (attention_ring.h).

#include <memory>
#include <vector>

#include "nn/token_layout.h"
#include "ops/exec_context.h"

namespace wan {

/// One attention, whose values, queries and keys travel as soon as each of them is there, while the caller computes the next: in that
/// order. Views are [local tokens, H, D], contiguous, one dtype. Heads are divided as evenly as they can be: 40 over 3 ranks are 14, 13 and
/// 13. A rank attends with its heads group by group, of which one travels while another computes; each head's result is the same in any
/// group. (Ulysses: arXiv 2309.14509.)
class SequenceParallelAttention {
 public:
  /// Has memory of the workspace as long as it lives. Throws InvalidArgument where there are more ranks, of a machine, than heads.
  SequenceParallelAttention(ExecContext& ctx, const TokenLayout& layout, DType dtype, std::int64_t heads,
                            std::int64_t width);

  /// None of them may be written to before attend() returns.
  void send_value(const TensorView& value);
  void send_query(const TensorView& query);
  void send_key(const TensorView& key);
  /// Scale 1 / sqrt(D).
  void attend(const TensorView& out);

 private:
  using Pending = std::vector<std::unique_ptr<PendingExchange>>;

  /// One of attention's inputs, or its output.
  struct Travelling {
    TensorView local;  // [local tokens, H, D]
    TensorView all;    // [tokens of all ranks, this rank's heads, D]; on one rank the same
    Pending groups = {};
  };

  /// How many tokens a rank has.
  std::int64_t tokens_of(int rank) const;
  Range heads_of(int rank, int group) const;
  /// All ranks' tokens of a group of this rank's heads.
  TensorView group_of(const Travelling& tensor, int group) const;
  /// A view a rank: the local tokens of a group of its heads.
  std::vector<TensorView> heads_by_rank(const TensorView& local, int group) const;
  /// A view a rank: the rows of [all ranks' tokens, ...] that it holds.
  std::vector<TensorView> rows_by_rank(const TensorView& rows) const;
  void send(Travelling& tensor, int group);
  void attend_group(int group);

  ExecContext& ctx_;
  Workspace::Scope scope_;
  const TokenLayout& layout_;
  Communicator& communicator_;  // of the ranks that exchange heads: all, or a machine's
  int ranks_, rank_;            // of these
  std::int64_t heads_;
  int groups_ = 1;
  Travelling value_, query_, key_, out_;
};

/// Into how many groups a rank's heads are cut. `heads` are all ranks'.
int head_groups(std::int64_t tokens, std::int64_t heads, int ranks, ExchangeSpeed speed);

/// Gathers every rank's rows: local [local tokens, C] into all [tokens, C], both contiguous.
void gather_tokens(ExecContext& ctx, const TokenLayout& layout, const TensorView& local,
                   const TensorView& all);

}  // namespace wan
