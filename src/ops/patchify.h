#pragma once
// Between a latent video and the transformer's tokens.

#include <array>

#include "ops/exec_context.h"

namespace wan {

/// Patch extents in time, height and width; (1, 2, 2) in every Wan2.2 model.
using PatchSize = std::array<int, 3>;

/// tokens[n - first_token, ((c pt + a) ph + b) pw + d] = latent[c, f pt + a, y ph + b, x pw + d] for token
/// n = (f H' + y) W' + x; the order of a patch embedding's [dim, C, pt, ph, pw] weight.
/// latent [C, F, H, W] contiguous, f32; tokens [n, C pt ph pw] f32 or bf16, rows may be strided: any range of
/// tokens.
struct PatchifyArgs {
  TensorView latent;
  PatchSize patch;
  std::int64_t first_token = 0;
  TensorView tokens;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.latent, &args.tokens}) visit(*view);
  }
  TensorView result() const { return tokens; }
};

/// latent[c, f pt + a, y ph + b, x pw + d] = tokens[n - first_token, ((a ph + b) pw + d) C + c]: the order of
/// the head's output. tokens may be any range; the other positions of latent are left as they are. latent
/// f32.
struct UnpatchifyArgs {
  TensorView tokens;
  PatchSize patch;
  std::int64_t first_token = 0;
  TensorView latent;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.tokens, &args.latent}) visit(*view);
  }
  /// Nothing: its values are those of tokens that were looked at, and other positions of the latent may not be written yet.
  TensorView result() const { return {}; }
};

void validate(const PatchifyArgs& args);
void reference(const PatchifyArgs& args);
void patchify(ExecContext& ctx, const PatchifyArgs& args);

void validate(const UnpatchifyArgs& args);
void reference(const UnpatchifyArgs& args);
void unpatchify(ExecContext& ctx, const UnpatchifyArgs& args);

}  // namespace wan
