#pragma once
// DeviceWeights: a model's constants on a device, in the layouts that its ops take.

#include <functional>
#include <string>
#include <unordered_map>

#include "onnx/graph.h"
#include "onnx/session.h"

namespace wan::onnx {

class DeviceWeights {
 public:
  /// The backend and the graph outlive it.
  DeviceWeights(const Graph& graph, Backend& backend);

  bool belongs_to(const Graph& graph, const Backend& backend) const {
    return graph_ == &graph && backend_ == &backend;
  }

  /// The view of `value` that `arrange` gives, contiguous on the device; made once for a key.
  using Arrange = std::function<TensorView(const TensorView& whole)>;
  TensorView get(const std::string& key, const HostTensor& value, const Arrange& arrange);
  bool has(const std::string& key) const { return entries_.contains(key); }
  std::size_t bytes() const { return bytes_; }

 private:
  struct Entry {
    Tensor device;
    HostTensor host;  // where the device is the host and the values lie as they are wanted
    TensorView view;
  };
  Entry make(const HostTensor& value, const Arrange& arrange);

  const Graph* graph_;
  Backend* backend_;
  SelfCommunicator communicator_;
  std::unordered_map<std::string, Entry> entries_;
  std::size_t bytes_ = 0;
};

}  // namespace wan::onnx
