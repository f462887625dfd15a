#include "onnx/fusion.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "onnx/device_functions.h"
#include "onnx/operators_common.h"

namespace wan::onnx {

namespace {

constexpr std::size_t kNone = static_cast<std::size_t>(-1);

class Fusion {
 public:
  explicit Fusion(Analysis& analysis) : analysis_(analysis), dead_(analysis.nodes.size()) { index(); }

  void run() {
    // Patterns of small operators first, for later ones end in what they become.
    for_each([&](std::size_t i) { fuse_silu(i); });
    for_each([&](std::size_t i) { fuse_gelu(i); });
    for_each([&](std::size_t i) { fuse_layer_norm(i); });
    for_each([&](std::size_t i) { fuse_batch_norm(i); });
    for_each([&](std::size_t i) { fuse_attention(i); });
    for_each([&](std::size_t i) { fuse_bias(i); });
    for_each([&](std::size_t i) { fuse_activation(i); });
    std::vector<Node> left;
    for (std::size_t i = 0; i < nodes().size(); ++i)
      if (!dead_[i]) left.push_back(std::move(nodes()[i]));
    nodes() = std::move(left);
  }

 private:
  std::vector<Node>& nodes() { return analysis_.nodes; }

  template <typename Visit>
  void for_each(Visit&& visit) {
    for (std::size_t i = 0; i < nodes().size(); ++i)
      if (!dead_[i]) visit(i);
  }

  void index() {
    for (std::size_t i = 0; i < nodes().size(); ++i) {
      for (const std::string& output : nodes()[i].outputs) producer_[output] = i;
      for (const std::string& input : nodes()[i].inputs) users_[input].push_back(i);
    }
    for (const ValueInfo& output : analysis_.graph.outputs) kept_.insert(output.name);
  }

  std::size_t producer(const std::string& name) const {
    const auto found = producer_.find(name);
    return found != producer_.end() && !dead_[found->second] ? found->second : kNone;
  }
  /// The node that makes `name`, where its operator is `op`.
  std::size_t made_by(const std::string& name, std::string_view op) {
    const std::size_t found = producer(name);
    return found != kNone && nodes()[found].op == op ? found : kNone;
  }
  std::vector<std::size_t> users(const std::string& name) const {
    std::vector<std::size_t> found;
    const auto all = users_.find(name);
    if (all == users_.end()) return found;
    for (const std::size_t user : all->second)
      if (!dead_[user]) found.push_back(user);
    return found;
  }
  /// The one user of a name that nobody else takes.
  std::size_t only_user(const std::string& name) const {
    if (kept_.contains(name)) return kNone;
    const auto found = users(name);
    return found.size() == 1 ? found[0] : kNone;
  }
  const Known& known(const std::string& name) const { return analysis_.values.at(name); }

  /// The one number of a constant.
  std::optional<double> scalar(const std::string& name) const {
    if (!analysis_.is_constant(name)) return std::nullopt;
    const HostTensor& value = known(name).constant;
    if (value.dtype() != DType::kF32 || value.elements() != 1) return std::nullopt;
    return value.number();
  }
  bool is_about(const std::string& name, double value) const {
    const auto number = scalar(name);
    return number && std::fabs(*number - value) <= 1e-5 * std::fabs(value);
  }
  /// Of a node with two inputs, the one that is not `name`; empty where none is.
  static std::string other_input(const Node& node, const std::string& name) {
    if (node.inputs.size() != 2) return {};
    if (node.inputs[0] == name) return node.inputs[1];
    return node.inputs[1] == name ? node.inputs[0] : std::string();
  }

  /// Node `at` becomes `made`, which gives its result; the others are gone.
  void replace(std::size_t at, Node made, const std::vector<std::size_t>& gone) {
    made.name = nodes()[at].name;
    for (const std::string& input : made.inputs) users_[input].push_back(at);
    for (const std::size_t i : gone) dead_[i] = true;
    nodes()[at] = std::move(made);
  }

  void fuse_silu(std::size_t i) {
    const Node& mul = nodes()[i];
    if (mul.op != "Mul") return;
    for (const std::string& input : mul.inputs) {
      const std::size_t sigmoid = made_by(input, "Sigmoid");
      if (sigmoid == kNone || only_user(input) != i) continue;
      const std::string x = nodes()[sigmoid].inputs[0];
      if (other_input(mul, input) != x || mul.inputs[0] == mul.inputs[1]) continue;
      return replace(i,
                     {.name = {}, .op = "wan.SiLU", .inputs = {x}, .outputs = mul.outputs, .attributes = {}},
                     {sigmoid});
    }
  }

  /// x (1 + Erf(x / sqrt 2)), and the half on either side.
  void fuse_gelu(std::size_t i) {
    if (nodes()[i].op != "Erf") return;
    const std::string erf = nodes()[i].outputs[0];
    const std::size_t scaled = producer(nodes()[i].inputs[0]);
    if (scaled == kNone || only_user(nodes()[i].inputs[0]) != i || nodes()[scaled].inputs.size() != 2) return;
    const Node& inner = nodes()[scaled];
    const bool divided = inner.op == "Div" && is_about(inner.inputs[1], std::sqrt(2.0));
    const bool multiplied = inner.op == "Mul" && is_about(inner.inputs[1], std::sqrt(0.5));
    if (!divided && !multiplied) return;
    const std::string x = inner.inputs[0];
    const std::size_t add = only_user(erf);
    if (add == kNone || nodes()[add].op != "Add" || !is_about(other_input(nodes()[add], erf), 1.0)) return;
    const std::string sum = nodes()[add].outputs[0];
    const std::size_t mul = only_user(sum);
    if (mul == kNone || nodes()[mul].op != "Mul") return;
    const std::string factor = other_input(nodes()[mul], sum);
    std::vector<std::size_t> gone{i, scaled, add};
    std::size_t last = mul;
    if (factor == x) {
      const std::string product = nodes()[mul].outputs[0];
      last = only_user(product);
      if (last == kNone || nodes()[last].op != "Mul" || !is_about(other_input(nodes()[last], product), 0.5))
        return;
      gone.push_back(mul);
    } else {
      const std::size_t half = made_by(factor, "Mul");
      if (half == kNone || only_user(factor) != mul || !is_about(other_input(nodes()[half], x), 0.5)) return;
      gone.push_back(half);
    }
    if (known(x).shape != known(nodes()[last].outputs[0]).shape) return;
    replace(last,
            {.name = {}, .op = "Gelu", .inputs = {x}, .outputs = nodes()[last].outputs, .attributes = {}},
            gone);
  }

  /// Whether the node is a ReduceMean over the last axis, which stays.
  bool is_last_mean(std::size_t i) {
    if (i == kNone || nodes()[i].op != "ReduceMean" || nodes()[i].integer("keepdims", 1) == 0) return false;
    const Call call = analysis_.call(nodes()[i]);
    const std::vector<int> axes = reduced_axes(call);
    return axes.size() == 1 && axes[0] == call.shape(0).rank() - 1;
  }

  /// From its division on: (x - mean) / Sqrt(ReduceMean((x - mean)^2) + eps), then w and b.
  void fuse_layer_norm(std::size_t i) {
    if (nodes()[i].op != "Div") return;
    const std::string centred = nodes()[i].inputs[0];
    const std::size_t sub = made_by(centred, "Sub");
    const std::size_t root = made_by(nodes()[i].inputs[1], "Sqrt");
    if (sub == kNone || root == kNone || only_user(nodes()[i].inputs[1]) != i) return;
    const std::string x = nodes()[sub].inputs[0];
    const std::size_t mean = producer(nodes()[sub].inputs[1]);
    if (!is_last_mean(mean) || nodes()[mean].inputs[0] != x) return;
    const std::size_t add = made_by(nodes()[root].inputs[0], "Add");
    if (add == kNone || only_user(nodes()[add].outputs[0]) != root) return;
    std::size_t variance = kNone;
    std::optional<double> eps;
    for (int side = 0; side < 2; ++side) {
      const auto at = static_cast<std::size_t>(side);
      if (const auto number = scalar(nodes()[add].inputs[1 - at])) {
        eps = number;
        variance = producer(nodes()[add].inputs[at]);
      }
    }
    if (!eps || !is_last_mean(variance) || only_user(nodes()[variance].outputs[0]) != add) return;
    const std::size_t square = producer(nodes()[variance].inputs[0]);
    if (square == kNone || only_user(nodes()[square].outputs[0]) != variance ||
        nodes()[square].inputs.size() != 2)
      return;
    const Node& power = nodes()[square];
    const bool squares = (power.op == "Pow" && is_about(power.inputs[1], 2.0)) ||
                         (power.op == "Mul" && power.inputs[0] == power.inputs[1]);
    if (!squares) return;
    // Some exporters subtract the mean twice.
    const std::size_t again = made_by(power.inputs[0], "Sub");
    if (again == kNone || nodes()[again].inputs != nodes()[sub].inputs) return;
    const std::size_t scaled = only_user(nodes()[i].outputs[0]);
    if (scaled == kNone || nodes()[scaled].op != "Mul") return;
    const std::string weight = other_input(nodes()[scaled], nodes()[i].outputs[0]);
    const std::size_t shifted = only_user(nodes()[scaled].outputs[0]);
    if (shifted == kNone || nodes()[shifted].op != "Add") return;
    const std::string bias = other_input(nodes()[shifted], nodes()[scaled].outputs[0]);
    const Shape row{known(x).shape[-1]};
    if (!analysis_.is_constant(weight) || !analysis_.is_constant(bias) || known(weight).shape != row ||
        known(bias).shape != row || known(nodes()[shifted].outputs[0]).shape != known(x).shape)
      return;
    std::vector<std::size_t> gone{i, root, add, variance, square, scaled};
    // Whoever takes the mean or the difference besides keeps them.
    const auto within = [&](const std::string& name, std::vector<std::size_t> allowed) {
      const auto all = users(name);
      return !kept_.contains(name) && std::all_of(all.begin(), all.end(), [&](std::size_t user) {
        return std::find(allowed.begin(), allowed.end(), user) != allowed.end();
      });
    };
    for (const std::size_t difference : {sub, again})
      if (within(nodes()[difference].outputs[0], {i, square})) gone.push_back(difference);
    if (within(nodes()[mean].outputs[0], gone)) gone.push_back(mean);
    Node made{.name = {},
              .op = "LayerNormalization",
              .inputs = {x, weight, bias},
              .outputs = nodes()[shifted].outputs,
              .attributes = {}};
    made.attributes["epsilon"].number = static_cast<float>(*eps);
    replace(shifted, std::move(made), gone);
  }

  /// The name of a new constant; one of the file's where all that it is made of are.
  std::string add_constant(std::string name, const HostTensor& value,
                           const std::vector<std::string>& made_of) {
    while (analysis_.values.contains(name)) name += '\'';
    analysis_.values[name] = {value.dtype(), value.shape(), value};
    if (std::all_of(made_of.begin(), made_of.end(),
                    [&](const std::string& s) { return analysis_.lasting.contains(s); }))
      analysis_.lasting.insert(name);
    return name;
  }

  void fuse_batch_norm(std::size_t i) {
    const Node& norm = nodes()[i];
    if (norm.op != "BatchNormalization") return;
    const std::size_t conv = producer(norm.inputs[0]);
    if (conv == kNone || only_user(norm.inputs[0]) != i) return;
    const bool transposed = nodes()[conv].op == "ConvTranspose";
    if (nodes()[conv].op != "Conv" && !transposed) return;
    if (transposed && nodes()[conv].integer("group", 1) != 1) return;
    Node made = nodes()[conv];
    const BatchScale scale = batch_scale(analysis_.call(norm));
    const HostTensor weight = known(made.inputs[1]).constant.aligned();
    HostTensor scaled(DType::kF32, weight.shape());
    const std::int64_t channels = scale.factor.elements();
    const std::int64_t inner =
        transposed ? weight.shape()[2] * weight.shape()[3] : weight.elements() / channels;
    for (std::int64_t e = 0; e < weight.elements(); ++e)
      scaled.fill<float>()[e] = weight.as<float>()[e] * scale.factor.as<float>()[e / inner % channels];
    HostTensor bias(DType::kF32, {channels});
    for (std::int64_t c = 0; c < channels; ++c) {
      const float before = made.has_input(2) ? known(made.inputs[2]).constant.aligned().as<float>()[c] : 0.0f;
      bias.fill<float>()[c] = before * scale.factor.as<float>()[c] + scale.addend.as<float>()[c];
    }
    std::vector<std::string> made_of(norm.inputs.begin() + 1, norm.inputs.end());
    for (std::size_t k = 1; k < made.inputs.size(); ++k)
      if (made.has_input(k)) made_of.push_back(made.inputs[k]);
    const std::string suffix = " by " + norm.outputs[0];
    made.inputs.resize(3);
    const std::string weight_name = made.inputs[1];
    made.inputs[1] = add_constant(weight_name + suffix, scaled, made_of);
    made.inputs[2] = add_constant(weight_name + " bias" + suffix, bias, made_of);
    made.outputs = norm.outputs;
    replace(i, std::move(made), {conv});
  }

  void fuse_attention(std::size_t i) {
    const Node& softmax = nodes()[i];
    if (softmax.op != "Softmax") return;
    const Call call = analysis_.call(softmax);
    if (softmax_axis(call) != call.shape(0).rank() - 1) return;
    const std::size_t last = only_user(softmax.outputs[0]);
    if (last == kNone || nodes()[last].op != "MatMul" || nodes()[last].inputs[0] != softmax.outputs[0] ||
        nodes()[last].inputs[1] == softmax.outputs[0])
      return;
    std::vector<std::size_t> gone{i};
    double scale = 1.0;
    std::string scores = softmax.inputs[0];
    std::size_t user = i;
    const std::size_t scaling = producer(scores);
    if (scaling != kNone && (nodes()[scaling].op == "Mul" || nodes()[scaling].op == "Div")) {
      const auto factor = scalar(nodes()[scaling].inputs[1]);
      if (!factor || *factor == 0.0 || only_user(scores) != i ||
          known(scores).shape != known(nodes()[scaling].inputs[0]).shape)
        return;
      scale = nodes()[scaling].op == "Mul" ? *factor : 1.0 / *factor;
      gone.push_back(scaling);
      scores = nodes()[scaling].inputs[0];
      user = scaling;
    }
    const std::size_t first = made_by(scores, "MatMul");
    if (first == kNone || only_user(scores) != user) return;
    const std::string q = nodes()[first].inputs[0];
    const std::string k = nodes()[first].inputs[1];
    const std::string v = nodes()[last].inputs[1];
    const Shape& queries = known(q).shape;
    const Shape& keys = known(k).shape;
    const Shape& values = known(v).shape;
    if (queries.rank() < 3 || keys.rank() != queries.rank() || values.rank() != queries.rank()) return;
    for (int d = 0; d + 2 < queries.rank(); ++d)
      if (queries[d] != keys[d] || queries[d] != values[d]) return;
    if (queries[-1] != values[-1] || queries.elements() == 0 || values.elements() == 0) return;
    gone.push_back(first);
    Node made{.name = {},
              .op = "wan.Attention",
              .inputs = {q, k, v},
              .outputs = nodes()[last].outputs,
              .attributes = {}};
    made.attributes["scale"].number = static_cast<float>(scale);
    replace(last, std::move(made), gone);
  }

  void fuse_bias(std::size_t i) {
    const Node& product = nodes()[i];
    if (product.op != "MatMul" || !analysis_.is_constant(product.inputs[1]) ||
        known(product.inputs[1]).shape.rank() != 2 || known(product.inputs[0]).shape.rank() < 2)
      return;
    const std::size_t add = only_user(product.outputs[0]);
    if (add == kNone || nodes()[add].op != "Add") return;
    const std::string bias = other_input(nodes()[add], product.outputs[0]);
    if (!analysis_.is_constant(bias) || known(bias).shape != Shape{known(product.inputs[1]).shape[1]}) return;
    replace(add,
            {.name = {},
             .op = "wan.Linear",
             .inputs = {product.inputs[0], product.inputs[1], bias},
             .outputs = nodes()[add].outputs,
             .attributes = {}},
            {i});
  }

  void fuse_activation(std::size_t i) {
    const Node& product = nodes()[i];
    if (product.op != "Conv" && product.op != "ConvTranspose" && product.op != "wan.Linear" &&
        product.op != "Gemm")
      return;
    if (product.has("wan.activation")) return;
    const std::size_t next = only_user(product.outputs[0]);
    if (next == kNone) return;
    const auto kind = function_of_one(nodes()[next]);
    if (!kind) return;
    Node made = product;
    made.outputs = nodes()[next].outputs;
    made.attributes["wan.activation"].integer = static_cast<std::int64_t>(*kind);
    replace(next, std::move(made), {i});
  }

  Analysis& analysis_;
  std::vector<bool> dead_;
  std::unordered_map<std::string, std::size_t> producer_;
  std::unordered_map<std::string, std::vector<std::size_t>> users_;
  std::unordered_set<std::string> kept_;  // the graph's outputs
};

}  // namespace

void fuse(Analysis& analysis) {
  Fusion(analysis).run();
}

}  // namespace wan::onnx
