#pragma once
// Graph: what an ONNX file holds, as its reader leaves it and the session takes it.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/mapped_file.h"
#include "onnx/host_tensor.h"
#include "onnx/model.h"

namespace wan::onnx {

/// One of the members holds the value.
struct Attribute {
  std::optional<float> number;
  std::optional<std::int64_t> integer;
  std::optional<std::string> text;
  std::optional<HostTensor> tensor;
  std::vector<float> numbers;
  std::vector<std::int64_t> integers;
};

struct Node {
  std::string name;                 // for messages; the first output's where the file gives none
  std::string op;                   // with its domain where that is not ONNX's: "com.microsoft.Gelu"
  std::vector<std::string> inputs;  // empty: left out
  std::vector<std::string> outputs;
  std::map<std::string, Attribute> attributes;

  bool has_input(std::size_t index) const { return index < inputs.size() && !inputs[index].empty(); }
  /// Of an attribute, or what stands for a missing one.
  std::int64_t integer(const char* attribute, std::int64_t otherwise) const;
  double number(const char* attribute, double otherwise) const;
  std::string text(const char* attribute, const char* otherwise) const;
  std::vector<std::int64_t> integers(const char* attribute) const;
  bool has(const char* attribute) const { return attributes.contains(attribute); }
};

struct Graph {
  std::string name;  // of the file, for messages
  int opset = 0;
  std::vector<Node> nodes;  // each after those whose results it takes
  std::unordered_map<std::string, HostTensor> constants;
  std::vector<ValueInfo> inputs, outputs;
  std::vector<std::shared_ptr<const MappedFile>> files;  // what constants lie in
};

}  // namespace wan::onnx
