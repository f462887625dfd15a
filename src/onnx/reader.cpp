#include "onnx/reader.h"

#include <unordered_set>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "onnx/tensor_reader.h"
#include "onnx/wire.h"

namespace wan::onnx {

namespace {

constexpr std::size_t kMostNodes = 20'000;
constexpr std::size_t kMostConstants = 200'000;
constexpr std::size_t kMostNames = 4096;  // of one node's inputs or outputs, or of the graph's
constexpr int kOldestOpset = 11;
constexpr int kNewestOpset = 21;

class GraphReader {
 public:
  GraphReader(const std::string& name, ExternalFiles& external, const std::shared_ptr<const void>& keep)
      : where_(name), source_{where_, external, keep}, graph_(std::make_shared<Graph>()) {
    graph_->name = name;
  }

  std::shared_ptr<Graph> read(std::span<const std::byte> bytes) {
    std::span<const std::byte> graph;
    bool found = false;
    WireReader reader(bytes, where_);
    for (WireField field; reader.next(field);) {
      if (field.number == 7) {
        WAN_CHECK(!found, kBadFile, "[{}] two graphs: {}", where_, kDamagedModel);
        graph = bytes_of(field, where_);
        found = true;
      }
      if (field.number == 8) read_opset(bytes_of(field, where_));
    }
    WAN_CHECK(found, kBadFile, "[{}] there is no graph in it: {}", where_, kDamagedModel);
    WAN_CHECK(graph_->opset >= kOldestOpset && graph_->opset <= kNewestOpset, kBadFile,
              "[{}] operators of ONNX's version {}; {} to {} are known: export the model for one of these",
              where_, graph_->opset, kOldestOpset, kNewestOpset);
    read_graph(graph);
    check_names();
    return graph_;
  }

 private:
  void read_opset(std::span<const std::byte> bytes) {
    std::string domain;
    std::int64_t version = 0;
    WireReader reader(bytes, where_);
    for (WireField field; reader.next(field);) {
      if (field.number == 1) domain = text_of(field, where_);
      if (field.number == 2) version = integer_of(field, where_);
    }
    if (domain.empty() || domain == "ai.onnx")
      graph_->opset = version > 0 && version < 1000 ? static_cast<int>(version) : 0;
  }

  void read_graph(std::span<const std::byte> bytes) {
    WireReader reader(bytes, where_);
    for (WireField field; reader.next(field);) {
      switch (field.number) {
        case 1:
          add_node(read_node(bytes_of(field, where_)));
          break;
        case 5: {
          NamedTensor tensor = read_tensor(bytes_of(field, where_), source_);
          add_constant(tensor.name, std::move(tensor.values));
          break;
        }
        case 11:
          graph_->inputs.push_back(read_value(bytes_of(field, where_)));
          break;
        case 12:
          graph_->outputs.push_back(read_value(bytes_of(field, where_)));
          break;
        case 15:
          fail(ErrorCode::kBadFile, "[{}] sparse weights are not taken; save the model with dense ones",
               where_);
        default:
          break;
      }
    }
    // Older files name their weights among the inputs too.
    std::erase_if(graph_->inputs,
                  [&](const ValueInfo& input) { return graph_->constants.contains(input.name); });
    WAN_CHECK(graph_->inputs.size() <= kMostNames && graph_->outputs.size() <= kMostNames, kBadFile,
              "[{}] {} inputs and {} outputs: {}", where_, graph_->inputs.size(), graph_->outputs.size(),
              kDamagedModel);
    WAN_CHECK(!graph_->outputs.empty(), kBadFile, "[{}] the graph has no output: {}", where_, kDamagedModel);
  }

  ValueInfo read_value(std::span<const std::byte> bytes) {
    ValueInfo value;
    std::span<const std::byte> type;
    WireReader reader(bytes, where_);
    for (WireField field; reader.next(field);) {
      if (field.number == 1) value.name = text_of(field, where_);
      if (field.number == 2) type = bytes_of(field, where_);
    }
    bool tensor = false;
    WireReader types(type, where_);
    for (WireField field; types.next(field);)
      if (field.number == 1) {
        tensor = true;
        read_tensor_type(bytes_of(field, where_), value);
      }
    WAN_CHECK(tensor, kBadFile, "[{}] {} is no tensor", where_, quote_name(value.name));
    return value;
  }

  void read_tensor_type(std::span<const std::byte> bytes, ValueInfo& value) {
    std::int64_t type = 0;
    WireReader reader(bytes, where_);
    for (WireField field; reader.next(field);) {
      if (field.number == 1) type = integer_of(field, where_);
      if (field.number == 2) read_dims(bytes_of(field, where_), value.dims);
    }
    value.dtype = dtype_of_onnx(type, where_);
    WAN_CHECK(value.dims.size() <= Shape::kMaxRank, kBadFile, "[{}] {} has {} dimensions, {} at most", where_,
              quote_name(value.name), value.dims.size(), Shape::kMaxRank);
  }

  void read_dims(std::span<const std::byte> bytes, std::vector<std::int64_t>& dims) {
    WireReader reader(bytes, where_);
    for (WireField field; reader.next(field);) {
      if (field.number != 1) continue;
      std::int64_t dim = -1;
      WireReader one(bytes_of(field, where_), where_);
      for (WireField part; one.next(part);)
        if (part.number == 1) dim = integer_of(part, where_);
      dims.push_back(dim < 0 ? -1 : dim);
    }
  }

  Node read_node(std::span<const std::byte> bytes) {
    Node node;
    std::string domain;
    WireReader reader(bytes, where_);
    for (WireField field; reader.next(field);) {
      switch (field.number) {
        case 1:
          node.inputs.push_back(text_of(field, where_));
          break;
        case 2:
          node.outputs.push_back(text_of(field, where_));
          break;
        case 3:
          node.name = text_of(field, where_);
          break;
        case 4:
          node.op = text_of(field, where_);
          break;
        case 5:
          read_attribute(bytes_of(field, where_), node);
          break;
        case 7:
          domain = text_of(field, where_);
          break;
        default:
          break;
      }
    }
    WAN_CHECK(node.inputs.size() <= kMostNames && node.outputs.size() <= kMostNames && !node.outputs.empty(),
              kBadFile, "[{}] node {} has {} inputs and {} outputs: {}", where_, quote_name(node.name),
              node.inputs.size(), node.outputs.size(), kDamagedModel);
    if (!domain.empty() && domain != "ai.onnx") node.op = domain + "." + node.op;
    if (node.name.empty()) node.name = node.outputs.front();
    return node;
  }

  void read_attribute(std::span<const std::byte> bytes, Node& node) {
    std::string name;
    Attribute read;
    std::int64_t type = 0;
    WireReader reader(bytes, where_);
    for (WireField field; reader.next(field);) {
      switch (field.number) {
        case 1:
          name = text_of(field, where_);
          break;
        case 2:
          read.number = float_of(field, where_);
          break;
        case 3:
          read.integer = integer_of(field, where_);
          break;
        case 4:
          read.text = text_of(field, where_);
          break;
        case 5:
          read.tensor = read_tensor(bytes_of(field, where_), source_).values;
          break;
        case 7:
          append_floats(field, where_, read.numbers);
          break;
        case 8:
          append_integers(field, where_, read.integers);
          break;
        case 20:
          type = integer_of(field, where_);
          break;
        default:
          break;
      }
    }
    // Some writers leave zeros out.
    if (type == 1 && !read.number) read.number = 0.0f;
    if (type == 2 && !read.integer) read.integer = 0;
    if (type == 3 && !read.text) read.text.emplace();
    node.attributes.insert_or_assign(std::move(name), std::move(read));
  }

  /// A Constant is a constant; other nodes are kept.
  void add_node(Node node) {
    WAN_CHECK(graph_->nodes.size() < kMostNodes, kBadFile, "[{}] more than {} nodes: {}", where_, kMostNodes,
              kDamagedModel);
    if (node.op != "Constant") return graph_->nodes.push_back(std::move(node));
    HostTensor value;
    for (const auto& [name, attribute] : node.attributes) {
      if (name == "value" && attribute.tensor) value = *attribute.tensor;
      if (name == "value_float" && attribute.number) {
        value = HostTensor(DType::kF32, {});
        *value.fill<float>() = *attribute.number;
      }
      if (name == "value_int" && attribute.integer) {
        value = HostTensor(DType::kI64, {});
        *value.fill<std::int64_t>() = *attribute.integer;
      }
      if (name == "value_floats") {
        value = HostTensor(DType::kF32, {static_cast<std::int64_t>(attribute.numbers.size())});
        std::copy(attribute.numbers.begin(), attribute.numbers.end(), value.fill<float>());
      }
      if (name == "value_ints") {
        value = HostTensor(DType::kI64, {static_cast<std::int64_t>(attribute.integers.size())});
        std::copy(attribute.integers.begin(), attribute.integers.end(), value.fill<std::int64_t>());
      }
    }
    WAN_CHECK(value, kBadFile, "[{}] the constant {} has no value that can be taken: {}", where_,
              quote_name(node.name), kDamagedModel);
    add_constant(node.outputs.front(), std::move(value));
  }

  void add_constant(const std::string& name, HostTensor value) {
    WAN_CHECK(graph_->constants.size() < kMostConstants, kBadFile, "[{}] more than {} weights: {}", where_,
              kMostConstants, kDamagedModel);
    WAN_CHECK(graph_->constants.emplace(name, std::move(value)).second, kBadFile,
              "[{}] {} is there twice: {}", where_, quote_name(name), kDamagedModel);
  }

  void check_names() const {
    std::unordered_set<std::string> known;
    const auto define = [&](const std::string& name) {
      WAN_CHECK(!name.empty() && !graph_->constants.contains(name) && known.insert(name).second, kBadFile,
                "[{}] the name {} is defined twice, or is none: {}", where_, quote_name(name), kDamagedModel);
    };
    const auto check_known = [&](const std::string& user, const std::string& name) {
      WAN_CHECK(known.contains(name) || graph_->constants.contains(name), kBadFile,
                "[{}] {} takes {}, which nothing before it defines: {}", where_, quote_name(user),
                quote_name(name), kDamagedModel);
    };
    for (const ValueInfo& input : graph_->inputs) define(input.name);
    for (const Node& node : graph_->nodes) {
      for (const std::string& input : node.inputs)
        if (!input.empty()) check_known(node.name, input);
      for (const std::string& output : node.outputs)
        if (!output.empty()) define(output);
    }
    for (const ValueInfo& output : graph_->outputs) check_known("the graph's output", output.name);
  }

  const std::string where_;
  TensorSource source_;
  std::shared_ptr<Graph> graph_;
};

}  // namespace

std::shared_ptr<const Graph> read_graph(std::span<const std::byte> bytes, const std::string& name,
                                        ExternalFiles& external, const std::shared_ptr<const void>& keep) {
  const auto graph = GraphReader(name, external, keep).read(bytes);
  for (const auto& [location, file] : external.files()) graph->files.push_back(file);
  return graph;
}

}  // namespace wan::onnx
