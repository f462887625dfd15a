#include "ops/embedding.h"

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
  for (const std::int64_t id : args.ids)
    WAN_CHECK(
        id >= 0 && id < rows, kInvalidArgument,
        "[{}] token {} is outside the table of {} rows: the tokenizer does not belong to this text encoder",
        kOp, id, rows);
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
