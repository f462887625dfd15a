#pragma once
// Rows of a table by index.

#include "ops/exec_context.h"

namespace wan {

/// out[i] = table[ids[i]]. table [V, C] contiguous, f32 or bf16; ids on the host; out [ids, C] contiguous,
/// f32 or bf16. Throws InvalidArgument for an id outside [0, V).
struct EmbeddingArgs {
  TensorView table;
  std::span<const std::int64_t> ids;
  TensorView out;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.table, &args.out}) visit(*view);
  }
};

void validate(const EmbeddingArgs& args);
void reference(const EmbeddingArgs& args);
void embedding(ExecContext& ctx, const EmbeddingArgs& args);

}  // namespace wan
