#include "onnx/analysis.h"

#include <algorithm>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "onnx/operators_common.h"

namespace wan::onnx {

namespace {

// Larger results are left to the run: a transposed weight is a view there.
constexpr std::size_t kMostFoldedBytes = std::size_t{64} << 20;
constexpr std::size_t kMostFoldedInAll = std::size_t{256} << 20;
constexpr std::size_t kMostListed = 12;

/// Nodes whose operators are not known, for one message.
class UnknownOperators {
 public:
  void add(const Node& node) {
    ++count_;
    auto& names = nodes_[node.op];
    if (names.size() < 3) names.push_back(quote_name(node.name));
  }
  void check(const std::string& file) const {
    if (count_ == 0) return;
    std::vector<std::string> lines;
    for (const auto& [op, names] : nodes_) {
      if (lines.size() == kMostListed) {
        lines.push_back(fmt::format("and {} more operators", nodes_.size() - kMostListed));
        break;
      }
      lines.push_back(fmt::format("{} ({})", quote_name(op), fmt::join(names, ", ")));
    }
    fail(ErrorCode::kUnsupported,
         "[{}] {} of its nodes have operators that are not computed here: {}; export the model without them",
         file, count_, fmt::join(lines, ", "));
  }

 private:
  std::map<std::string, std::vector<std::string>> nodes_;
  std::size_t count_ = 0;
};

void check_input(const Graph& graph, const ValueInfo& declared, const Shape& given) {
  bool fits = given.rank() == static_cast<int>(declared.dims.size());
  for (int d = 0; fits && d < given.rank(); ++d) {
    const std::int64_t dim = declared.dims[static_cast<std::size_t>(d)];
    fits = dim < 0 || dim == given[d];
  }
  WAN_CHECK(fits, kInvalidArgument, "[{}] its input {} is declared as [{}] (-1: any), got {}", graph.name,
            quote_name(declared.name), fmt::join(declared.dims, ", "), given.to_string());
}

bool only_renames(const std::string& op) {
  return op == "Identity" || op == "Reshape" || op == "Flatten" || op == "Squeeze" || op == "Unsqueeze";
}

/// Gives results their values where inputs have theirs.
void compute_constants(const Operator& op, const Call& call, std::vector<Known>& results,
                       std::size_t& folded) {
  std::vector<HostTensor> inputs;
  for (std::size_t i = 0; i < call.inputs.size(); ++i) {
    if (!call.has(i)) {
      inputs.emplace_back();
      continue;
    }
    if (!call.in(i).constant) return;
    inputs.push_back(call.in(i).constant);
  }
  if (only_renames(call.node.op)) {
    results[0].constant = inputs[0].reshaped(results[0].shape);
    return;
  }
  if (op.compute == nullptr || (inputs.empty() && call.node.op != "Range")) return;
  std::size_t bytes = 0;
  for (const Known& result : results) bytes += dtype_bytes(result.dtype, result.shape.elements());
  if (bytes > kMostFoldedBytes || folded + bytes > kMostFoldedInAll) return;
  folded += bytes;
  std::vector<HostTensor> outputs;
  for (const Known& result : results) outputs.emplace_back(result.dtype, result.shape);
  op.compute(call, inputs, outputs);
  for (std::size_t i = 0; i < results.size(); ++i) results[i].constant = outputs[i];
}

}  // namespace

void fail_node(const std::string& file, const Node& node, const Error& error) {
  throw Error(error.code(), format_message("[{}] {} {}: {}", file, quote_name(node.op), quote_name(node.name),
                                           MessagePart{error.what()}));
}

Call Analysis::call(const Node& node) const {
  Call made{node, graph.opset, {}};
  for (const std::string& name : node.inputs) {
    const auto found = values.find(name);
    made.inputs.push_back(found != values.end() ? &found->second : nullptr);
  }
  return made;
}

Analysis analyse(const Graph& graph, std::span<const Shape> inputs) {
  Analysis made{graph, {}, {}, {}};
  WAN_CHECK(inputs.size() == graph.inputs.size(), kInvalidArgument, "[{}] it has {} inputs, got {}",
            graph.name, graph.inputs.size(), inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    check_input(graph, graph.inputs[i], inputs[i]);
    made.values[graph.inputs[i].name] = {graph.inputs[i].dtype, inputs[i], {}};
  }
  for (const auto& [name, value] : graph.constants) {
    made.values[name] = {value.dtype(), value.shape(), value};
    made.lasting.insert(name);
  }
  UnknownOperators unknown;
  std::size_t folded = 0;
  for (const Node& node : graph.nodes) {
    const Operator* op = find_operator(node.op);
    if (op == nullptr) {
      unknown.add(node);
      continue;
    }
    // What follows a node that is not known can only be held against the list of operators.
    const bool all_known = std::all_of(node.inputs.begin(), node.inputs.end(), [&](const std::string& name) {
      return name.empty() || made.values.contains(name);
    });
    if (!all_known) continue;
    with_node(graph.name, node, [&] {
      const Call call = made.call(node);
      std::vector<Known> results = op->infer(call);
      ONNX_CHECK(node.outputs.size() <= results.size(), "{} outputs, {} at most", node.outputs.size(),
                 results.size());
      compute_constants(*op, call, results, folded);
      bool constant = true;
      for (std::size_t i = 0; i < node.outputs.size(); ++i) {
        constant = constant && results[i].constant;
        if (only_renames(node.op) && made.lasting.contains(node.inputs[0]))
          made.lasting.insert(node.outputs[i]);
        if (!node.outputs[i].empty()) made.values[node.outputs[i]] = std::move(results[i]);
      }
      if (!constant) made.nodes.push_back(node);
    });
  }
  unknown.check(graph.name);
  return made;
}

}  // namespace wan::onnx
