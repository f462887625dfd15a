#include "models/qwen/generate_text.h"

#include <algorithm>
#include <cstring>

#include "ops/backend.h"

namespace wan {

TextBeginning begin_text(const QwenModel& model, std::vector<std::int64_t> ids) {
  const auto count = static_cast<std::int64_t>(ids.size());
  TextBeginning beginning{.ids = std::move(ids),
                          .embedded = Tensor(DType::kF32, {count, model.config().dim}),
                          .positions = text_positions(0, count),
                          .next_position = count};
  model.embed(beginning.ids, beginning.embedded);
  return beginning;
}

TextBeginning begin_with_picture(const QwenModel& model, std::vector<std::int64_t> ids,
                                 std::int64_t picture_id, const TensorView& tokens, std::int64_t rows,
                                 std::int64_t columns) {
  const auto found = std::find(ids.begin(), ids.end(), picture_id);
  WAN_CHECK(found != ids.end() && std::count(ids.begin(), ids.end(), picture_id) == 1, kInvalidArgument,
            "`prompt` spells out a token that stands for a picture; leave it out");
  const std::int64_t place = found - ids.begin();
  const std::int64_t count = rows * columns;
  ids.insert(found, static_cast<std::size_t>(count - 1), picture_id);
  TextBeginning beginning = begin_text(model, std::move(ids));
  const TensorView seen = beginning.embedded.view().slice(0, place, place + count);
  WAN_CHECK(tokens.shape() == seen.shape() && tokens.is_contiguous(), kInternal,
            "[qwen] {} tokens of a picture for {}", tokens.shape().to_string(), seen.shape().to_string());
  std::memcpy(seen.data(), tokens.data(), tokens.bytes());
  // The picture's tokens share a time; what follows begins behind the largest place.
  for (std::int64_t i = 0; i < count; ++i)
    beginning.positions[static_cast<std::size_t>(place + i)] = {place, place + i / columns,
                                                                place + i % columns};
  std::int64_t next = place + std::max(rows, columns);
  for (auto i = static_cast<std::size_t>(place + count); i < beginning.positions.size(); ++i, ++next)
    beginning.positions[i] = {next, next, next};
  beginning.next_position = next;
  return beginning;
}

GeneratedText generate_text(ExecContext& ctx, const QwenModel& model, const TextBeginning& beginning,
                            const SamplingConfig& sampling, std::uint64_t seed, std::int64_t max_tokens,
                            const std::function<void(std::int64_t)>& told) {
  const auto count = static_cast<std::int64_t>(beginning.ids.size());
  WAN_CHECK(count + max_tokens <= model.config().max_tokens, kInvalidArgument,
            "the text has {} tokens, and with {} more the language model takes {}; shorten the prompt", count,
            max_tokens, model.config().max_tokens);
  KeyValueCache cache(ctx.backend.allocator(), model.config(), count + max_tokens, model.activation_dtype());
  const Tensor logits(ctx.backend.transfer_allocator(), DType::kF32, {model.config().vocabulary});
  const Tensor embedded(DType::kF32, {1, model.config().dim});
  TokenSampler sampler(sampling, seed);
  std::vector<std::int64_t> text = beginning.ids;
  GeneratedText result;
  model.forward(ctx, beginning.embedded, beginning.positions, cache, logits);
  while (true) {
    const std::int64_t id =
        sampler.next({logits.as<float>(), static_cast<std::size_t>(logits.elements())}, text);
    result.ended = std::find(sampling.end_ids.begin(), sampling.end_ids.end(), id) != sampling.end_ids.end();
    if (result.ended) return result;
    result.ids.push_back(id);
    text.push_back(id);
    const auto made = static_cast<std::int64_t>(result.ids.size());
    told(made);
    if (made == max_tokens) return result;
    model.embed({&id, 1}, embedded);
    model.forward(ctx, embedded, text_positions(beginning.next_position + made - 1, 1), cache, logits);
  }
}

}  // namespace wan
