#pragma once
// Session: a model's graph, planned for given input shapes, on a backend.

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "onnx/model.h"
#include "ops/exec_context.h"

namespace wan::onnx {

/// Weights as a device holds them. Sessions of one model on one backend (other batch sizes) may share them.
class DeviceWeights;

struct SessionOptions {
  /// Of another session of the same model and backend; null: a session has its own.
  std::shared_ptr<DeviceWeights> weights = nullptr;
};

/// Values are f32 on the device, and products and sums too. A CUDA backend's convolutions multiply in TF32 unless it was made
/// with tf32_convolutions = false: networks whose results become coordinates want that, for TF32 keeps 11 bits.
/// One thread at a time; the model and the backend outlive it.
class Session {
 public:
  /// Checks every node, computes on the host what depends on no input, plans memory and loads the weights. Shapes are those of
  /// Model::inputs(), in that order. Throws InvalidArgument where a shape does not fit the declared one, Unsupported with a list
  /// of all operators and nodes that cannot be run, BadFile where the graph's shapes contradict each other, OutOfMemory.
  Session(const Model& model, Backend& backend, std::span<const Shape> input_shapes,
          const SessionOptions& options = {});
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  /// Shapes and dtypes of Model::outputs(), in that order, with every extent.
  const std::vector<ValueInfo>& outputs() const;
  /// inputs: contiguous host memory, shapes and dtypes as planned. Results are host memory. Takes memory_bytes() and the ops' scratch
  /// from ctx.workspace; ctx.backend is the session's. Throws InvalidArgument for inputs of another shape or dtype or index values
  /// outside their range, Cancelled.
  std::vector<Tensor> run(ExecContext& ctx, std::span<const TensorView> inputs);

  /// Device memory of activations while it runs, and of weights as long as it lives.
  std::size_t memory_bytes() const;
  std::size_t weight_bytes() const;
  const std::shared_ptr<DeviceWeights>& weights() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace wan::onnx
