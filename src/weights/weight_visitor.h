#pragma once
// WeightVisitor: what a struct of weights tells of its members. The struct has one function, visit(), that says once what each
// member is called, its shape and how it is held; what is done with it is the visitor's.
//
//   struct NormWeights {
//     TensorView scale, shift;  // [dim]
//     void visit(const WeightVisitor& at, std::int64_t dim) {
//       at.tensor("weight", scale, {dim}, WeightDType::kFloat32);
//       at.tensor("bias", shift, {dim}, WeightDType::kFloat32);
//     }
//   };
//
// list_weights() asks such a struct for its WeightSpecs, bind_weights() points it at a block's views, LoadedWeights loads it and
// owns the memory.

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weights/leased_weights.h"
#include "weights/weight_scope.h"

namespace wan {

class WeightVisitor {
 public:
  /// Called for each member, in the struct's order; may set `weight`, and what is added to it where a matrix may stay packed (otherwise nullptr).
  using Visit = std::function<void(const WeightSpec& spec, TensorView& weight, LowRankViews* addition)>;

  explicit WeightVisitor(Visit visit) : visit_(std::move(visit)) {}

  /// For a struct within the struct: what it calls "weight" is "q.weight" to the visitor of child("q").
  WeightVisitor child(std::string_view name) const {
    WeightVisitor below = *this;
    below.prefix_ += std::string(name) + ".";
    return below;
  }
  void tensor(std::string_view name, TensorView& weight, const Shape& shape,
              WeightDType dtype = WeightDType::kCompute, LowRankViews* addition = nullptr) const {
    visit_({.name = prefix_ + std::string(name), .shape = shape, .dtype = dtype}, weight, addition);
  }

 private:
  Visit visit_;
  std::string prefix_;
};

/// What a struct of weights of these dimensions asks for, in its order: a BlockLayout's weights.
template <typename Weights, typename Config>
std::vector<WeightSpec> list_weights(const Config& config) {
  std::vector<WeightSpec> specs;
  Weights weights;
  weights.visit(
      WeightVisitor([&](const WeightSpec& spec, TensorView&, LowRankViews*) { specs.push_back(spec); }),
      config);
  return specs;
}

/// How many it asks for.
template <typename Weights, typename Config>
std::size_t weight_count(const Config& config) {
  std::size_t count = 0;
  Weights weights;
  weights.visit(WeightVisitor([&](const WeightSpec&, TensorView&, LowRankViews*) { ++count; }), config);
  return count;
}

/// The struct on a lease's weights, which are in list_weights()' order. Throws Internal for others, and where something is added to a weight
/// that takes nothing.
template <typename Weights, typename Config>
Weights bind_weights(const LeasedWeights& leased, const Config& config) {
  Weights weights;
  const std::span<const TensorView> views = leased.views;
  std::size_t next = 0;
  weights.visit(WeightVisitor([&](const WeightSpec& spec, TensorView& weight, LowRankViews* addition) {
                  WAN_CHECK(next < views.size() && views[next].shape() == spec.shape, kInternal,
                            "[bind_weights] view {} of {} is not {} {}", next, views.size(), spec.name,
                            spec.shape.to_string());
                  if (!leased.additions.empty()) {
                    const LowRankViews& added = leased.additions[next];
                    WAN_CHECK(addition != nullptr || added.up.empty(), kInternal,
                              "[bind_weights] {} takes no addition", spec.name);
                    if (addition != nullptr) *addition = added;
                  }
                  weight = views[next++];
                }),
                config);
  WAN_CHECK(next == views.size(), kInternal, "[bind_weights] {} views for {} weights", views.size(), next);
  return weights;
}

/// A struct of weights loaded from a scope, with the memory of its views; kInFile: a view of the mapped file. What the scope's
/// report finds wanting is empty; where the scope only describes, all that would be loaded is.
template <typename Weights>
class LoadedWeights {
 public:
  template <typename Config>
  LoadedWeights(const WeightScope& scope, const Config& config) : checkpoint_(scope.report().checkpoint()) {
    weights_.visit(WeightVisitor([&](const WeightSpec& spec, TensorView& weight, LowRankViews*) {
                     if (spec.dtype == WeightDType::kInFile) {
                       const TensorEntry* entry = scope.declare(spec);
                       if (entry == nullptr) return;
                       if (entry->scales != nullptr) {  // its values are nowhere in the file
                         weight = memory_.emplace_back(
                             scope.on_host().load(spec.name, spec.shape, WeightDType::kFloat32));
                         return;
                       }
                       weight = entry->view();
                       in_file_.push_back(entry);
                     } else {
                       weight = memory_.emplace_back(scope.load(spec));
                     }
                   }),
                   config);
  }

  const Weights* operator->() const { return &weights_; }
  const Weights& operator*() const { return weights_; }
  /// After a use of what stays in the file. Throws BadFile where that was cut short meanwhile.
  void check_read() const {
    for (const TensorEntry* entry : in_file_) checkpoint_.check_read(*entry);
  }

 private:
  Checkpoint checkpoint_;  // keeps what stays in the file mapped
  std::vector<Tensor> memory_;
  std::vector<const TensorEntry*> in_file_;
  Weights weights_;
};

}  // namespace wan
