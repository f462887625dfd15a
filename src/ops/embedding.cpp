#include "ops/embedding.h"

#include <algorithm>

#include "ops/dispatch.h"

namespace wan {

void validate(const EmbeddingArgs& args) {
  constexpr const char* kOp = "embedding";
  check_rank(kOp, "table", args.table, 2);
  check_shape(kOp, "out", args.out, {static_cast<std::int64_t>(args.ids.size()), args.table.dim(1)});
  check_activation_dtype(kOp, "table", args.table);
  check_activation_dtype(kOp, "out", args.out);
  WAN_CHECK(args.table.is_contiguous() && args.out.is_contiguous(), kInternal,
            "[{}] views must be contiguous", kOp);
  const std::int64_t rows = args.table.dim(0);
  // The sign of what is outside, of all ids at once: a text's positions are a quarter of a million.
  std::int64_t signs = 0;
  for (const std::int64_t id : args.ids) signs |= id | (rows - 1 - id);
  if (signs >= 0) return;
  const auto outside = std::ranges::find_if(args.ids, [&](std::int64_t id) { return id < 0 || id >= rows; });
  fail(ErrorCode::kInvalidArgument,
       "[{}] token {} is outside the table of {} rows: the tokenizer does not belong to this text encoder",
       kOp, *outside, rows);
}

void reference(const EmbeddingArgs& args) {
  for (std::size_t i = 0; i < args.ids.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    reference(CopyArgs{args.table.select(0, args.ids[i]), args.out.select(0, row)});
  }
}

void embedding(ExecContext& ctx, const EmbeddingArgs& args) {
  validate(args);
  dispatch(ctx, "embedding", args);
}

}  // namespace wan
