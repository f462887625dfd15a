#pragma once
// DeviceWeights: a model's constants on a device, in the layouts that its ops take.

#include <functional>
#include <map>
#include <string>
#include <utility>

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

  /// A constant's name, and how it is laid out; no name for what is no constant of the graph.
  using Key = std::pair<std::string, std::string>;
  /// The view of `value` that `arrange` gives, contiguous on the device; made once for a key.
  using Arrange = std::function<TensorView(const TensorView& whole)>;
  TensorView get(const Key& key, const HostTensor& value, const Arrange& arrange);
  bool has(const Key& key) const { return entries_.contains(key); }
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
  std::map<Key, Entry> entries_;
  std::size_t bytes_ = 0;
};

}  // namespace wan::onnx
