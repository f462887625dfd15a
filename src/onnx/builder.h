#pragma once
// Builder: from a graph's nodes to a program: steps in order, each on views into memory whose places are chosen when all are known.

#include <functional>
#include <optional>

#include "onnx/analysis.h"
#include "onnx/device_weights.h"
#include "ops/backend.h"

namespace wan::onnx {

/// A view into a storage of the program, on an address without memory until it runs; or into a weight, which is there.
struct Placed {
  int storage = -1;  // -1: a weight's
  TensorView view;

  explicit operator bool() const { return static_cast<bool>(view); }
};

/// Memory of the arena from the first step that writes it to the last that reads it.
struct Storage {
  std::size_t bytes = 0;
  std::size_t first = 0, last = 0;
  std::size_t offset = 0;
};

/// What steps run on.
class Running {
 public:
  Running(ExecContext& context, std::byte* arena, const std::vector<Storage>& storages,
          std::vector<HostTensor>& values)
      : ctx(context), slots(values), arena_(arena), storages_(storages) {}

  ExecContext& ctx;
  std::vector<HostTensor>& slots;  // values on the host
  TensorView operator()(const Placed& placed) const;

 private:
  std::byte* arena_;
  const std::vector<Storage>& storages_;
};

using Action = std::function<void(Running&)>;

struct Step {
  Action action;
  std::vector<std::size_t> freed;  // slots that nobody reads any more
};

struct Program {
  std::vector<Step> steps;
  std::vector<Storage> storages;
  std::size_t arena_bytes = 0;
  std::size_t slots = 0;
  std::vector<std::size_t> input_slots, output_slots;
};

class Builder {
 public:
  Builder(const Analysis& analysis, Backend& backend, DeviceWeights& lasting, DeviceWeights& own);

  /// Throws Unsupported where a node can be computed neither on the device nor on the host.
  Program build();

  // For device_*.cpp.
  const Known& known(const std::string& name) const { return analysis_.values.at(name); }
  Call call(const Node& node) const { return analysis_.call(node); }
  /// An f32 value on the device, of its shape, with any strides.
  Placed device(const std::string& name);
  /// What `arrange` makes of a constant; `layout` names that arrangement.
  Placed weight(const std::string& name, const char* layout, const DeviceWeights::Arrange& arrange);
  /// A constant made of that of `name`.
  Placed made_weight(const std::string& name, const std::string& layout,
                     const std::function<HostTensor()>& make);
  /// A constant that no file has: one that this builder makes for itself.
  Placed own_weight(const std::string& key, const std::function<HostTensor()>& make);
  /// Gives a node's result its place.
  void define(const std::string& name, const Placed& placed);
  Placed take(const Shape& shape);
  /// With the order of `like`'s strides where that is dense and of this shape; contiguous otherwise.
  Placed take_like(const Shape& shape, const Placed& like);
  /// Runs the action with `touched` in memory, of which it writes some.
  void emit(const std::vector<Placed>& touched, Action action);
  void copy_to(const Placed& from, const Placed& to);
  Placed contiguous(const Placed& placed);
  /// A picture [N, C, H, W] as frames [N, H, W, C], contiguous.
  Placed frames(const Placed& picture);
  static Placed picture(const Placed& frames);
  /// Another shape of the same elements: a view where the strides allow it, a copy otherwise.
  Placed reshaped(const Placed& placed, const Shape& shape);
  /// Rows of a table [V, C], contiguous, by index.
  Placed rows_of(const Placed& table, std::vector<std::int64_t> ids);

 private:
  struct Place {
    Placed device;
    std::optional<std::size_t> slot;
    bool is_input = false;  // of the graph: it may go where it is wanted
  };

  void add_node(const Node& node);
  bool wants_host(const Node& node) const;
  void add_host_node(const Node& node);
  std::size_t slot(const std::string& name);
  std::size_t new_slot();
  void use_slot(std::size_t slot);
  void place_storages();

  const Analysis& analysis_;
  Backend& backend_;
  DeviceWeights& lasting_;
  DeviceWeights& own_;
  Program program_;
  std::unordered_map<std::string, Place> places_;
  std::unordered_map<std::size_t, std::size_t> last_use_;  // of slots: steps
};

/// Strides under another shape where the same memory serves; nothing where it does not.
std::optional<TensorView> view_as(const TensorView& view, const Shape& shape);
/// Repeats dimensions of one element, by strides of 0.
TensorView broadcast_view(const TensorView& view, const Shape& shape);
/// With axes in this order.
TensorView permuted(const TensorView& view, std::span<const int> order);
/// Whether the elements fill their memory without gaps or repeats, in any order of the axes.
bool is_dense(const TensorView& view);

/// Computes a node on the device; nullptr for operators that only the host has.
using BuildNode = void (*)(Builder& builder, const Node& node);
BuildNode find_device_node(std::string_view op);

}  // namespace wan::onnx
