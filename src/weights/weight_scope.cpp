#include "weights/weight_scope.h"

#include <algorithm>
#include <utility>

#include "tensor/address_allocator.h"

namespace wan {

WeightScope::WeightScope(WeightReport& report, WeightTarget target)
    : report_(&report), compute_dtype_(target.compute_dtype) {
  loader_ = std::make_shared<WeightLoader>(std::move(target));
}

WeightScope WeightScope::describing(WeightReport& report, DType compute_dtype) {
  WeightScope scope(report);
  scope.compute_dtype_ = compute_dtype;
  return scope;
}

WeightScope WeightScope::rehearsing(WeightReport& report, Allocator& allocator, DType compute_dtype) {
  WeightScope scope = describing(report, compute_dtype);
  scope.unfilled_ = &allocator;
  return scope;
}

WeightScope WeightScope::child(std::string_view name) const {
  WeightScope scope = *this;
  scope.prefix_ += std::string(name) + ".";
  return scope;
}

bool WeightScope::has(std::string_view name) const {
  return report_->checkpoint().find(full_name(name)) != nullptr;
}

std::optional<Shape> WeightScope::shape_of(std::string_view name) const {
  const TensorEntry* entry = report_->checkpoint().find(full_name(name));
  return entry != nullptr ? std::optional<Shape>(entry->shape) : std::nullopt;
}

Shape WeightScope::require_shape(std::string_view name, int rank, std::string_view remedy) const {
  const std::optional<Shape> shape = shape_of(name);
  WAN_CHECK(shape && shape->rank() == rank, kBadFile, "{}: expected a tensor {} of {} dimensions, got {}; {}",
            report_->checkpoint().path(), full_name(name), rank,
            shape ? shape->to_string() : std::string("none"), remedy);
  return *shape;
}

int WeightScope::count_children(std::string_view name) const {
  const std::span<const TensorEntry> entries = report_->checkpoint().entries();
  for (int count = 0;; ++count) {
    const std::string child_prefix = full_name(name) + "." + std::to_string(count) + ".";
    const auto found =
        std::lower_bound(entries.begin(), entries.end(), child_prefix,
                         [](const TensorEntry& entry, const std::string& key) { return entry.name < key; });
    if (found == entries.end() || !found->name.starts_with(child_prefix)) return count;
  }
}

const TensorEntry* WeightScope::declare(const WeightSpec& spec) const {
  return report_->expect(full_name(spec.name), spec.shape);
}

Tensor WeightScope::load(const WeightSpec& spec) const {
  const TensorEntry* entry = declare(spec);
  if (unfilled_ != nullptr) return {*unfilled_, resolve_dtype(spec.dtype, compute_dtype_), spec.shape};
  if (entry == nullptr || loader_ == nullptr) return {};
  Tensor tensor(*loader_->target().allocator, resolve_dtype(spec.dtype, compute_dtype_), spec.shape);
  loader_->load(std::vector<WeightLoad>{{*entry, tensor}});
  report_->checkpoint().done_reading(*entry);
  return tensor;
}

WeightScope WeightScope::in_precision(DType compute_dtype) const {
  WeightScope scope = *this;
  scope.compute_dtype_ = compute_dtype;
  if (!loads()) return scope;
  WeightTarget there = target();
  there.compute_dtype = compute_dtype;
  scope.loader_ = std::make_shared<WeightLoader>(std::move(there));
  return scope;
}

WeightScope WeightScope::on_host() const {
  WeightScope scope = *this;
  if (loads())
    scope.loader_ = std::make_shared<WeightLoader>(
        WeightTarget{.compute_dtype = compute_dtype_, .threads = target().threads});
  static AddressAllocator uncounted;  // as the host's memory is, beside a device's
  if (unfilled_ != nullptr) scope.unfilled_ = &uncounted;
  return scope;
}

Tensor WeightScope::make(DType dtype, const Shape& shape,
                         const std::function<void(const TensorView&)>& fill) const {
  if (unfilled_ != nullptr) return {*unfilled_, dtype, shape};
  if (!loads()) return {};
  Tensor made(*target().allocator, dtype, shape);
  if (made.view().device().kind == DeviceKind::kCpu) {
    fill(made);
  } else {
    const Tensor host(dtype, shape);
    fill(host);
    target().upload(upload_source(host), made);
  }
  return made;
}

const WeightTarget& WeightScope::target() const {
  WAN_ASSERT(loads());
  return loader_->target();
}

}  // namespace wan
