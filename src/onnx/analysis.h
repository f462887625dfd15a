#pragma once
// A graph for given input shapes: every shape known, all that depends on no input computed.

#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "onnx/operators.h"

namespace wan::onnx {

struct Analysis {
  const Graph& graph;
  std::unordered_map<std::string, Known> values;  // of every name
  std::vector<Node> nodes;                        // those that are left to run, in order
  /// Constants that are the same whatever the input shapes: the file's, and those that were made of these alone.
  std::unordered_set<std::string> lasting;

  Call call(const Node& node) const;
  bool is_constant(const std::string& name) const {
    return values.contains(name) && values.at(name).constant;
  }
};

/// Throws InvalidArgument where a shape does not fit the declared one, Unsupported with all operators that are not known,
/// BadFile where shapes contradict each other.
Analysis analyse(const Graph& graph, std::span<const Shape> inputs);

/// check(); an Error that it throws names the file and the node.
template <typename Check>
decltype(auto) with_node(const std::string& file, const Node& node, Check&& check);

/// Throws an Error again with the file and the node before it.
[[noreturn]] void fail_node(const std::string& file, const Node& node, const Error& error);

template <typename Check>
decltype(auto) with_node(const std::string& file, const Node& node, Check&& check) {
  try {
    return check();
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kCancelled) throw;
    fail_node(file, node, error);
  }
}

}  // namespace wan::onnx
