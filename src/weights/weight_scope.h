#pragma once
// WeightScope: a checkpoint seen from one layer: a prefix, and loading by name and expected shape.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "weights/weight_loader.h"
#include "weights/weight_report.h"

namespace wan {

/// Layers take a scope, ask for their weights, and pass `scope.child("norm1")` on. Findings go to the report:
/// load() does not throw for a missing or mis-shaped weight but returns an empty Tensor, so that one error
/// can list all of them. Nobody reads a weight before WeightReport::check(). Copies are cheap; the report
/// outlives them. Not thread-safe.
class WeightScope {
 public:
  /// Loads into the target.
  WeightScope(WeightReport& report, WeightTarget target);
  /// Loads nothing: every load() is checked, reported and returns an empty Tensor (`wan inspect`, plans).
  static WeightScope describing(WeightReport& report, DType compute_dtype = DType::kF32);

  /// Loads nothing, and gives tensors of the shapes that are asked for, whether the checkpoint has them or not, with nothing in
  /// them: for passes that compute nothing (CountingBackend). Findings are reported.
  static WeightScope rehearsing(WeightReport& report, Allocator& allocator, DType compute_dtype);

  /// The scope below `name`: child("blocks.0").child("norm1") asks for "blocks.0.norm1.weight" as "weight".
  WeightScope child(std::string_view name) const;
  /// "" or "blocks.0."
  const std::string& prefix() const { return prefix_; }
  /// The name of a weight in the checkpoint.
  std::string full_name(std::string_view name) const { return prefix_ + std::string(name); }

  bool has(std::string_view name) const;
  /// For dimensions that only the tensors tell; does not mark the weight as used.
  std::optional<Shape> shape_of(std::string_view name) const;
  /// The same of a tensor without which the model makes no sense. Throws BadFile where there is none of `rank` dimensions, with
  /// `remedy` ("use the Wan2.1_VAE.pth of the checkpoint") at the end.
  Shape require_shape(std::string_view name, int rank, std::string_view remedy) const;
  /// Largest n for which `name`.0 to `name`.(n - 1) exist: the number of blocks or layers.
  int count_children(std::string_view name) const;

  /// Row-major, on the target's device. Throws OutOfMemory.
  Tensor load(const WeightSpec& spec) const;
  Tensor load(std::string_view name, const Shape& shape, WeightDType dtype = WeightDType::kCompute) const {
    return load(WeightSpec{.name = std::string(name), .shape = shape, .dtype = dtype});
  }
  /// This scope, with another precision of the run than its target's.
  WeightScope in_precision(DType compute_dtype) const;
  /// This scope, loading into host memory: for weights from which the model makes those that it uses. See make().
  WeightScope on_host() const;
  /// A weight that the model makes itself, on the target's device: `fill` writes it on the host. Empty when describing, and
  /// not filled in a rehearsal.
  Tensor make(DType dtype, const Shape& shape, const std::function<void(const TensorView&)>& fill) const;
  /// Checks and marks a weight that is loaded later (BlockResidency). nullptr when it is not usable.
  const TensorEntry* declare(const WeightSpec& spec) const;

  WeightReport& report() const { return *report_; }
  bool loads() const { return loader_ != nullptr; }
  /// Where loads go; Internal when describing.
  const WeightTarget& target() const;
  DType compute_dtype() const { return compute_dtype_; }

 private:
  explicit WeightScope(WeightReport& report) : report_(&report) {}

  WeightReport* report_;
  std::shared_ptr<WeightLoader> loader_;
  Allocator* unfilled_ = nullptr;  // of a rehearsal
  DType compute_dtype_ = DType::kF32;
  std::string prefix_;
};

}  // namespace wan
