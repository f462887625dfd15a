#pragma once
// Text, token by token, until the model ends it.

#include <functional>
#include <vector>

#include "models/qwen/qwen_model.h"
#include "models/qwen/sampler.h"

namespace wan {

/// What a text begins with: tokens, their embeddings and places.
struct TextBeginning {
  std::vector<std::int64_t> ids;
  Tensor embedded;                      // [ids, dim] f32 on the host
  std::vector<QwenPosition> positions;  // of each
  std::int64_t next_position = 0;       // of the token behind them
};

/// Of tokens of text alone.
TextBeginning begin_text(const QwenModel& model, std::vector<std::int64_t> ids);

/// The same of text and one picture, whose tokens ([tokens, dim] f32 on the host, row after row of `rows` x `columns`) take the place of the
/// one `picture_id` in `ids`.
TextBeginning begin_with_picture(const QwenModel& model, std::vector<std::int64_t> ids,
                                 std::int64_t picture_id, const TensorView& tokens, std::int64_t rows,
                                 std::int64_t columns);

struct GeneratedText {
  std::vector<std::int64_t> ids;  // without the end's
  bool ended = false;             // by the model; otherwise there were max_tokens
};

/// `told` is called after each token with how many there are. Throws InvalidArgument where the beginning leaves no room in the model's
/// positions, Cancelled.
GeneratedText generate_text(ExecContext& ctx, const QwenModel& model, const TextBeginning& beginning,
                            const SamplingConfig& sampling, std::uint64_t seed, std::int64_t max_tokens,
                            const std::function<void(std::int64_t)>& told);

}  // namespace wan
