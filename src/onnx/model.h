#pragma once
// Model: an ONNX file that is open and checked as a graph. onnx::Session (session.h) runs it.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tensor/dtype.h"

namespace wan::onnx {

struct Graph;

/// An input or output as the file declares it.
struct ValueInfo {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<std::int64_t> dims;  // -1 where the file leaves an extent free
};

/// Copies share one graph, whose weights stay mapped as long as a copy lives.
class Model {
 public:
  /// `path`: the .onnx file, or a folder that holds one (end2end.onnx, or the only file of that kind). Weights in further files
  /// are taken from the folder of the .onnx file alone: no absolute paths, no "..", no links that lead out of it. Throws
  /// BadFile with the file and what to do: damaged, not ONNX, of an opset other than 11 to 21, a name that nothing defines, weights
  /// that are missing or not of the size that the graph says.
  static Model open(const std::filesystem::path& path);
  explicit Model(std::shared_ptr<const Graph> graph) : graph_(std::move(graph)) {}

  /// Those that a caller gives: initializers left out, in the file's order.
  const std::vector<ValueInfo>& inputs() const;
  /// dims as the file has them; a session knows them all.
  const std::vector<ValueInfo>& outputs() const;
  /// Of the .onnx file, for messages.
  const std::string& name() const;
  const Graph& graph() const { return *graph_; }
  /// Throws BadFile where a mapped file was cut short since it was opened: what was computed from it is of no use.
  void check_read() const;

 private:
  std::shared_ptr<const Graph> graph_;
};

}  // namespace wan::onnx
