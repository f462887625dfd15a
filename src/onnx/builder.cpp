#include "onnx/builder.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "onnx/device_functions.h"
#include "onnx/operators_common.h"
#include "ops/copy.h"
#include "ops/embedding.h"

namespace wan::onnx {

namespace {

// Views of a program count from here: an address without memory that is not null.
constexpr std::uintptr_t kBase = 4096;
constexpr std::size_t kAlignment = 256;  // of storages: what device allocations have
constexpr std::size_t kMostSteps = 50'000;
constexpr std::size_t kMostBytes = std::size_t{1} << 50;  // sums of sizes up to here cannot overflow

std::byte* base_address() {
  return reinterpret_cast<std::byte*>(kBase);  // NOLINT(performance-no-int-to-ptr)
}

std::size_t padded(std::size_t bytes) {
  return (std::max<std::size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
}

std::vector<int> by_stride(const TensorView& view) {
  std::vector<int> order(static_cast<std::size_t>(view.rank()));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    // Axes of one element have any stride: they go where they stand.
    return view.stride(a) > view.stride(b);
  });
  return order;
}

}  // namespace

TensorView Running::operator()(const Placed& placed) const {
  if (placed.storage < 0 || !placed.view) return placed.view;
  const std::ptrdiff_t offset = placed.view.data() - base_address();
  std::byte* data = arena_ + storages_[static_cast<std::size_t>(placed.storage)].offset + offset;
  return {data, placed.view.dtype(), placed.view.shape(), placed.view.strides(), placed.view.device()};
}

bool is_dense(const TensorView& view) {
  std::int64_t expected = 1;
  const std::vector<int> order = by_stride(view);
  for (auto it = order.rbegin(); it != order.rend(); ++it) {
    if (view.dim(*it) == 1) continue;
    if (view.stride(*it) != expected) return false;
    expected *= view.dim(*it);
  }
  return true;
}

TensorView permuted(const TensorView& view, std::span<const int> order) {
  std::vector<std::int64_t> dims;
  std::vector<std::int64_t> strides;
  for (const int axis : order) {
    dims.push_back(view.dim(axis));
    strides.push_back(view.stride(axis));
  }
  return {view.data(), view.dtype(), Shape(dims), Shape(strides), view.device()};
}

TensorView broadcast_view(const TensorView& view, const Shape& shape) {
  std::vector<std::int64_t> strides(static_cast<std::size_t>(shape.rank()));
  for (int i = 0; i < view.rank(); ++i) {
    const int at = i + shape.rank() - view.rank();
    strides[static_cast<std::size_t>(at)] = view.dim(i) == 1 ? 0 : view.stride(i);
  }
  return {view.data(), view.dtype(), shape, Shape(strides), view.device()};
}

std::optional<TensorView> view_as(const TensorView& view, const Shape& shape) {
  if (view.is_contiguous()) return view.reshape(shape);
  if (shape.elements() == 0) return std::nullopt;
  // Runs of axes that lie one within the other are one axis, which may be divided anew.
  struct Run {
    std::int64_t size, stride;
  };
  std::vector<Run> runs;
  for (int d = 0; d < view.rank(); ++d) {
    if (view.dim(d) == 1) continue;
    if (!runs.empty() && runs.back().stride == view.dim(d) * view.stride(d))
      runs.back() = {runs.back().size * view.dim(d), view.stride(d)};
    else
      runs.push_back({view.dim(d), view.stride(d)});
  }
  std::vector<std::int64_t> strides(static_cast<std::size_t>(shape.rank()));
  auto run = runs.rbegin();
  std::int64_t left = run != runs.rend() ? run->size : 1;
  std::int64_t step = run != runs.rend() ? run->stride : 1;
  for (int d = shape.rank() - 1; d >= 0; --d) {
    if (shape[d] == 1) {
      strides[static_cast<std::size_t>(d)] = step;
      continue;
    }
    if (left == 1) {
      ++run;
      if (run == runs.rend()) return std::nullopt;
      left = run->size;
      step = run->stride;
    }
    if (left % shape[d] != 0) return std::nullopt;
    strides[static_cast<std::size_t>(d)] = step;
    step *= shape[d];
    left /= shape[d];
  }
  return TensorView(view.data(), view.dtype(), shape, Shape(strides), view.device());
}

Builder::Builder(const Analysis& analysis, Backend& backend, DeviceWeights& lasting, DeviceWeights& own)
    : analysis_(analysis), backend_(backend), lasting_(lasting), own_(own) {}

Placed Builder::take(const Shape& shape) {
  Storage storage;
  storage.bytes = padded(dtype_bytes(DType::kF32, shape.elements()));
  storage.first = storage.last = program_.steps.size();
  program_.storages.push_back(storage);
  return {static_cast<int>(program_.storages.size()) - 1,
          TensorView(base_address(), DType::kF32, shape, backend_.device())};
}

Placed Builder::take_like(const Shape& shape, const Placed& like) {
  Placed made = take(shape);
  if (like.view.shape() != shape || !is_dense(like.view)) return made;
  std::vector<std::int64_t> strides(static_cast<std::size_t>(shape.rank()));
  std::int64_t step = 1;
  const std::vector<int> order = by_stride(like.view);
  for (auto it = order.rbegin(); it != order.rend(); ++it) {
    strides[static_cast<std::size_t>(*it)] = step;
    step *= shape[*it];
  }
  made.view = TensorView(made.view.data(), DType::kF32, shape, Shape(strides), backend_.device());
  return made;
}

void Builder::emit(const std::vector<Placed>& touched, Action action) {
  for (const Placed& placed : touched)
    if (placed.storage >= 0)
      program_.storages[static_cast<std::size_t>(placed.storage)].last = program_.steps.size();
  ONNX_CHECK(program_.steps.size() < kMostSteps, "the model takes more than {} steps", kMostSteps);
  program_.steps.push_back({std::move(action), {}});
}

void Builder::copy_to(const Placed& from, const Placed& to) {
  if (from.view.elements() == 0) return;
  emit({from, to}, [from, to](Running& run) { copy(run.ctx, {run(from), run(to)}); });
}

Placed Builder::contiguous(const Placed& placed) {
  // Axes of one element have any stride, where ops look for that of a row.
  if (placed.view.is_contiguous()) return {placed.storage, placed.view.reshape(placed.view.shape())};
  const Placed made = take(placed.view.shape());
  copy_to(placed, made);
  return made;
}

Placed Builder::frames(const Placed& picture) {
  return contiguous({picture.storage, picture.view.permute({0, 2, 3, 1})});
}

Placed Builder::picture(const Placed& frames) {
  return {frames.storage, frames.view.permute({0, 3, 1, 2})};
}

Placed Builder::reshaped(const Placed& placed, const Shape& shape) {
  if (const auto view = view_as(placed.view, shape)) return {placed.storage, *view};
  const Placed made = contiguous(placed);
  return {made.storage, made.view.reshape(shape)};
}

Placed Builder::rows_of(const Placed& table, std::vector<std::int64_t> ids) {
  const Placed made = take({static_cast<std::int64_t>(ids.size()), table.view.dim(1)});
  if (made.view.elements() == 0) return made;
  emit({table, made}, [table, made, ids = std::move(ids)](Running& run) {
    embedding(run.ctx, {.table = run(table), .ids = ids, .out = run(made)});
  });
  return made;
}

Placed Builder::weight(const std::string& name, const char* layout, const DeviceWeights::Arrange& arrange) {
  DeviceWeights& weights = analysis_.lasting.contains(name) ? lasting_ : own_;
  return {-1, weights.get({name, layout}, known(name).constant, arrange)};
}

namespace {

Placed made_in(DeviceWeights& weights, const DeviceWeights::Key& key,
               const std::function<HostTensor()>& make) {
  const auto as_it_is = [](const TensorView& view) { return view; };
  return {-1, weights.get(key, weights.has(key) ? HostTensor() : make(), as_it_is)};
}

}  // namespace

Placed Builder::made_weight(const std::string& name, const std::string& layout,
                            const std::function<HostTensor()>& make) {
  return made_in(analysis_.lasting.contains(name) ? lasting_ : own_, {name, layout}, make);
}

Placed Builder::own_weight(const std::string& key, const std::function<HostTensor()>& make) {
  return made_in(own_, {"", key}, make);
}

std::size_t Builder::new_slot() {
  return program_.slots++;
}

void Builder::use_slot(std::size_t slot) {
  last_use_[slot] = program_.steps.size();
}

Placed Builder::device(const std::string& name) {
  Place& place = places_[name];
  if (place.device) return place.device;
  const Known& value = known(name);
  ONNX_CHECK(value.dtype == DType::kF32, "{} is of type {}", quote_name(name), dtype_name(value.dtype));
  if (value.constant)
    return place.device = weight(name, "it is", [](const TensorView& view) { return view; });
  WAN_CHECK(place.slot.has_value(), kUnsupported, "{} is a result that is not computed here",
            quote_name(name));
  const std::size_t from = *place.slot;
  const Placed to = take(value.shape);
  place.device = to;
  if (to.view.elements() == 0) return to;
  use_slot(from);
  emit({to}, [from, to](Running& run) { run.ctx.backend.upload(run.slots[from].view(), run(to)); });
  return to;
}

void Builder::define(const std::string& name, const Placed& placed) {
  if (name.empty()) return;
  WAN_ASSERT(placed.view.shape() == known(name).shape);
  places_[name].device = placed;
}

std::size_t Builder::slot(const std::string& name) {
  Place& place = places_[name];
  if (place.slot) {
    use_slot(*place.slot);
    return *place.slot;
  }
  const std::size_t to = new_slot();
  place.slot = to;
  const Known& value = known(name);
  if (value.constant) {
    const HostTensor constant = value.constant.aligned();
    use_slot(to);
    emit({}, [to, constant](Running& run) { run.slots[to] = constant; });
    use_slot(to);
    return to;
  }
  WAN_CHECK(static_cast<bool>(place.device), kUnsupported, "{} is a result that is not computed here",
            quote_name(name));
  const Placed from = contiguous(place.device);
  use_slot(to);
  emit({from}, [from, to, shape = value.shape](Running& run) {
    HostTensor made(DType::kF32, shape);
    if (made.elements() > 0)
      run.ctx.backend.download(run(from), TensorView(made.writable(), DType::kF32, shape));
    run.slots[to] = std::move(made);
  });
  use_slot(to);
  return to;
}

bool Builder::wants_host(const Node& node) const {
  const Operator* op = find_operator(node.op);
  if (find_device_node(node.op) == nullptr) return true;
  if (known(node.outputs[0]).dtype != DType::kF32) return true;
  bool all_results_of_host = true;
  bool any = false;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    if (!node.has_input(i)) continue;
    const Known& input = known(node.inputs[i]);
    if (input.constant) {
      // Powers may be integers.
      if (function_of_two(node) && input.dtype != DType::kF32) return true;
      continue;
    }
    if (input.dtype != DType::kF32) return true;
    const auto place = places_.find(node.inputs[i]);
    any = true;
    all_results_of_host = all_results_of_host && place != places_.end() && place->second.slot &&
                          !place->second.device && !place->second.is_input;
  }
  return op != nullptr && op->compute != nullptr && any && all_results_of_host;
}

void Builder::add_host_node(const Node& node) {
  const Operator* op = find_operator(node.op);
  WAN_CHECK(op != nullptr && op->compute != nullptr, kUnsupported,
            "it takes or gives values that are not float32, which is not computed here");
  std::vector<std::optional<std::size_t>> inputs;
  std::vector<Known> known_inputs;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    inputs.emplace_back();
    if (node.has_input(i)) inputs.back() = slot(node.inputs[i]);
    known_inputs.push_back(node.has_input(i) ? known(node.inputs[i]) : Known());
  }
  for (const auto& input : inputs)
    if (input) use_slot(*input);
  struct Result {
    std::size_t slot;
    DType dtype;
    Shape shape;
  };
  std::vector<Result> results;
  const std::vector<Known> inferred = op->infer(call(node));
  for (std::size_t i = 0; i < inferred.size(); ++i) {
    const std::size_t to = new_slot();
    results.push_back({to, inferred[i].dtype, inferred[i].shape});
    use_slot(to);
    if (i < node.outputs.size() && !node.outputs[i].empty()) places_[node.outputs[i]].slot = to;
  }
  emit({}, [node, op, inputs, known_inputs, results, opset = analysis_.graph.opset](Running& run) {
    Call call{node, opset, {}};
    std::vector<HostTensor> in;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      call.inputs.push_back(inputs[i] ? &known_inputs[i] : nullptr);
      in.push_back(inputs[i] ? run.slots[*inputs[i]] : HostTensor());
    }
    std::vector<HostTensor> out;
    for (const Result& result : results) out.emplace_back(result.dtype, result.shape);
    op->compute(call, in, out);
    for (std::size_t i = 0; i < out.size(); ++i) run.slots[results[i].slot] = std::move(out[i]);
  });
}

void Builder::add_node(const Node& node) {
  const std::size_t first = program_.steps.size();
  with_node(analysis_.graph.name, node, [&] {
    if (wants_host(node)) return add_host_node(node);
    // A result without elements needs no computing, and ops take none.
    const bool nothing = std::all_of(
        node.outputs.begin(), node.outputs.end(),
        [&](const std::string& output) { return output.empty() || known(output).shape.elements() == 0; });
    if (nothing) {
      for (const std::string& output : node.outputs)
        if (!output.empty()) define(output, take(known(output).shape));
      return;
    }
    find_device_node(node.op)(*this, node);
  });
  for (std::size_t i = first; i < program_.steps.size(); ++i) {
    Action& action = program_.steps[i].action;
    action = [inner = std::move(action), file = analysis_.graph.name, node](Running& run) {
      with_node(file, node, [&] { inner(run); });
    };
  }
}

Program Builder::build() {
  for (const ValueInfo& input : analysis_.graph.inputs) {
    Place& place = places_[input.name];
    place.slot = new_slot();
    place.is_input = true;
    use_slot(*place.slot);
    program_.input_slots.push_back(*place.slot);
  }
  for (const Node& node : analysis_.nodes) add_node(node);
  for (const ValueInfo& output : analysis_.graph.outputs) program_.output_slots.push_back(slot(output.name));
  for (const std::size_t output : program_.output_slots) last_use_.erase(output);
  for (const auto& [slot, step] : last_use_)
    if (step < program_.steps.size()) program_.steps[step].freed.push_back(slot);
  place_storages();
  return std::move(program_);
}

/// The largest first, each at the lowest place that none of those has which live at the same time.
void Builder::place_storages() {
  std::vector<Storage>& storages = program_.storages;
  std::vector<std::size_t> order(storages.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return storages[a].bytes > storages[b].bytes; });
  std::vector<std::size_t> placed;  // by their offsets
  for (const std::size_t i : order) {
    Storage& own = storages[i];
    std::size_t offset = 0;
    for (const std::size_t other : placed) {
      const Storage& there = storages[other];
      if (there.last < own.first || own.last < there.first) continue;
      if (offset + own.bytes <= there.offset) break;
      offset = std::max(offset, there.offset + there.bytes);
    }
    WAN_CHECK(own.bytes <= kMostBytes && offset <= kMostBytes, kOutOfMemory,
              "[{}] a value of {} bytes does not fit into memory; use smaller inputs", analysis_.graph.name,
              own.bytes);
    own.offset = offset;
    program_.arena_bytes = std::max(program_.arena_bytes, offset + own.bytes);
    placed.insert(std::upper_bound(
                      placed.begin(), placed.end(), i,
                      [&](std::size_t a, std::size_t b) { return storages[a].offset < storages[b].offset; }),
                  i);
  }
}

}  // namespace wan::onnx
