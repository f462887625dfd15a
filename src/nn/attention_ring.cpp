#include "nn/attention_ring.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <optional>
#include <vector>

#include "ops/attention.h"
#include "ops/copy.h"
#include "ops/join_attention.h"

namespace wan {

namespace {

/// A machine's keys and values, in memory for any machine's.
struct KeysAndValues {
  TensorView k, v;
};

/// The way of one of them to the next machine.
class Ring {
 public:
  explicit Ring(const RingArgs& args) : args_(args) {}

  int size() const { return args_.machines.size(); }
  /// Whose keys and values are here in step `step`.
  int owner(int step) const { return (args_.machines.rank() - step + size()) % size(); }
  std::int64_t most_tokens() const { return *std::ranges::max_element(args_.tokens); }
  /// The part of `memory` that they take in that step.
  KeysAndValues in(const KeysAndValues& memory, int step) const {
    const std::int64_t tokens = args_.tokens[static_cast<std::size_t>(owner(step))];
    return {memory.k.slice(0, 0, tokens), memory.v.slice(0, 0, tokens)};
  }

  /// Sends what is here to the next machine; `from_previous` becomes the previous one's.
  void begin(const KeysAndValues& here, const KeysAndValues& from_previous) {
    keys_ = pass(here.k, from_previous.k);
    values_ = pass(here.v, from_previous.v);
  }
  void finish() const {
    keys_->finish();
    values_->finish();
  }

 private:
  std::unique_ptr<PendingExchange> pass(const TensorView& to_next, const TensorView& from_previous) const {
    const auto machines = static_cast<std::size_t>(size());
    const auto rank = static_cast<std::size_t>(args_.machines.rank());
    std::vector<TensorView> send(machines, to_next.slice(0, 0, 0));
    std::vector<TensorView> recv(machines, from_previous.slice(0, 0, 0));
    send[(rank + 1) % machines] = to_next;
    recv[(rank + machines - 1) % machines] = from_previous;
    return args_.machines.begin_all_to_all(send, recv);
  }

  const RingArgs& args_;
  std::unique_ptr<PendingExchange> keys_, values_;
};

}  // namespace

void ring_attention(ExecContext& ctx, const RingArgs& args) {
  Workspace& workspace = ctx.workspace;
  const Workspace::Scope scope(workspace);
  const Shape rows = args.q.shape();
  const Shape sums{rows[1], rows[0]};
  const bool is_f32 = args.out.dtype() == DType::kF32;
  const TensorView joined = is_f32 ? args.out : workspace.take(DType::kF32, rows);
  const TensorView log_sums = workspace.take(DType::kF32, sums);
  // In bf16 a part has `out` until the end.
  const TensorView part = is_f32 ? workspace.take(DType::kF32, rows) : args.out;
  const TensorView part_log_sums = workspace.take(DType::kF32, sums);

  Ring ring(args);
  const Shape most{ring.most_tokens(), rows[1], rows[2]};
  std::array<KeysAndValues, 2> memory;  // what is attended to, and what arrives
  for (int i = 0; i < std::min(ring.size() - 1, 2); ++i)
    memory[static_cast<std::size_t>(i)] = {workspace.take(args.k.dtype(), most),
                                           workspace.take(args.v.dtype(), most)};
  KeysAndValues here{args.k, args.v};
  for (int step = 0; step < ring.size(); ++step) {
    const bool is_last = step + 1 == ring.size();
    const KeysAndValues next =
        is_last ? KeysAndValues() : ring.in(memory[static_cast<std::size_t>(step % 2)], step + 1);
    if (!is_last) ring.begin(here, next);
    const bool is_first = step == 0;
    attention(ctx, {.q = args.q,
                    .k = here.k,
                    .v = here.v,
                    .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(rows[2]))),
                    .bias = {},
                    .key_bias = {},
                    .out = is_first && is_f32 ? joined : part,
                    .log_sums = is_first ? log_sums : part_log_sums});
    if (!is_first)
      join_attention(ctx,
                     {.out = joined, .log_sums = log_sums, .part = part, .part_log_sums = part_log_sums});
    else if (!is_f32)
      copy(ctx, {part, joined});
    if (!is_last) ring.finish();
    here = next;
  }
  if (!is_f32) copy(ctx, {joined, args.out});
}

}  // namespace wan
