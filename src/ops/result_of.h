#pragma once
// What an op writes, for FiniteCheck: `out`, but for the ops below.

#include "ops/fill_zero.h"
#include "ops/finite.h"
#include "ops/gated_residual.h"
#include "ops/patchify.h"

namespace wan {

/// In place.
inline TensorView result_of(const GatedResidualArgs& args) {
  return args.x;
}
inline TensorView result_of(const PatchifyArgs& args) {
  return args.tokens;
}
/// Nothing: its values are those of tokens that were looked at, and other positions of the latent may not be written yet.
inline TensorView result_of(const UnpatchifyArgs&) {
  return {};
}
/// Nothing: zeros.
inline TensorView result_of(const FillZeroArgs&) {
  return {};
}
/// Nothing: a number on the host.
inline TensorView result_of(const CountNonFiniteArgs&) {
  return {};
}
template <typename Args>
TensorView result_of(const Args& args) {
  return args.out;
}

}  // namespace wan
