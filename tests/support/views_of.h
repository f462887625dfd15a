#pragma once
// visit_views(args, visit): visit(view) for every view in an op's arguments, those that are missing too; visit may change it.

#include "ops/backend.h"

namespace wan::test {

template <typename Visit>
void visit_views(ActivationArgs& a, Visit&& visit) {
  for (TensorView* view : {&a.x, &a.out}) visit(*view);
}
template <typename Visit>
void visit_views(AttentionArgs& a, Visit&& visit) {
  for (TensorView* view : {&a.q, &a.k, &a.v, &a.bias, &a.key_bias, &a.out}) visit(*view);
}
template <typename Visit>
void visit_views(AverageDownArgs& a, Visit&& visit) {
  for (TensorView* view : {&a.in, &a.out}) visit(*view);
}
template <typename Visit>
void visit_views(ChannelNormArgs& a, Visit&& visit) {
  for (TensorView* view : {&a.x, &a.gamma, &a.out}) visit(*view);
}
template <typename Visit>
void visit_views(Conv3dArgs& a, Visit&& visit) {
  for (TensorView* view : {&a.x, &a.weight, &a.bias, &a.residual, &a.out}) visit(*view);
}
template <typename Visit>
void visit_views(CopyArgs& a, Visit&& visit) {
  for (TensorView* view : {&a.from, &a.out}) visit(*view);
}
template <typename Visit>
void visit_views(CountNonFiniteArgs& a, Visit&& visit) {
  visit(a.x);
}
template <typename Visit>
void visit_views(DuplicateUpArgs& a, Visit&& visit) {
  for (TensorView* view : {&a.in, &a.out}) visit(*view);
}
template <typename Visit>
void visit_views(EmbeddingArgs& a, Visit&& visit) {
  for (TensorView* view : {&a.table, &a.out}) visit(*view);
}
template <typename Visit>
void visit_views(FillZeroArgs& a, Visit&& visit) {
  visit(a.view);
}
template <typename Visit>
void visit_views(GatedGeluArgs& a, Visit&& visit) {
  for (TensorView* view : {&a.gate, &a.x, &a.out}) visit(*view);
}
template <typename Visit>
void visit_views(GatedResidualArgs& a, Visit&& visit) {
  for (TensorView* view : {&a.x, &a.y, &a.gate}) visit(*view);
}
template <typename Visit>
void visit_views(LayerNormArgs& a, Visit&& visit) {
  for (TensorView* view : {&a.x, &a.weight, &a.bias, &a.scale, &a.shift, &a.out}) visit(*view);
}
template <typename Visit>
void visit_views(LinearArgs& a, Visit&& visit) {
  for (TensorView* view : {&a.x, &a.weight, &a.bias, &a.out}) visit(*view);
}
template <typename Visit>
void visit_views(LinearCombinationArgs& a, Visit&& visit) {
  for (auto& term : a.terms) visit(term.x);
  visit(a.out);
}
template <typename Visit>
void visit_views(PatchifyArgs& a, Visit&& visit) {
  for (TensorView* view : {&a.latent, &a.tokens}) visit(*view);
}
template <typename Visit>
void visit_views(UnpatchifyArgs& a, Visit&& visit) {
  for (TensorView* view : {&a.tokens, &a.latent}) visit(*view);
}
template <typename Visit>
void visit_views(RmsNormArgs& a, Visit&& visit) {
  for (TensorView* view : {&a.x, &a.weight, &a.out}) visit(*view);
}
template <typename Visit>
void visit_views(RmsNormRopeArgs& a, Visit&& visit) {
  for (TensorView* view : {&a.x, &a.weight, &a.table, &a.out}) visit(*view);
}
template <typename Visit>
void visit_views(UpsampleArgs& a, Visit&& visit) {
  for (TensorView* view : {&a.x, &a.out}) visit(*view);
}

}  // namespace wan::test
