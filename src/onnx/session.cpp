#include "onnx/session.h"

#include <cstring>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "onnx/builder.h"
#include "onnx/fusion.h"
#include "onnx/graph.h"

namespace wan::onnx {

struct Session::Impl {
  Impl(const Model& of, Backend& on, std::shared_ptr<DeviceWeights> shared)
      : model(of), backend(on), weights(std::move(shared)), own(of.graph(), on) {}

  Model model;
  Backend& backend;
  std::shared_ptr<DeviceWeights> weights;
  DeviceWeights own;
  Program program;
  std::vector<ValueInfo> inputs, outputs;
};

Session::Session(const Model& model, Backend& backend, std::span<const Shape> input_shapes,
                 const SessionOptions& options) {
  const Graph& graph = model.graph();
  auto weights = options.weights ? options.weights : std::make_shared<DeviceWeights>(graph, backend);
  WAN_CHECK(weights->belongs_to(graph, backend), kInternal,
            "[onnx] weights of another model or another backend were given to a session");
  impl_ = std::make_unique<Impl>(model, backend, std::move(weights));
  Analysis analysis = analyse(graph, input_shapes);
  fuse(analysis);
  impl_->program = Builder(analysis, backend, *impl_->weights, impl_->own).build();
  model.check_read();
  const auto described = [&](const ValueInfo& declared) {
    const Known& known = analysis.values.at(declared.name);
    const auto extents = known.shape.extents();
    return ValueInfo{declared.name, known.dtype, {extents.begin(), extents.end()}};
  };
  for (const ValueInfo& input : graph.inputs) impl_->inputs.push_back(described(input));
  for (const ValueInfo& output : graph.outputs) impl_->outputs.push_back(described(output));
}

Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

const std::vector<ValueInfo>& Session::outputs() const {
  return impl_->outputs;
}

std::size_t Session::memory_bytes() const {
  return impl_->program.arena_bytes;
}

std::size_t Session::weight_bytes() const {
  return impl_->weights->bytes() + impl_->own.bytes();
}

const std::shared_ptr<DeviceWeights>& Session::weights() const {
  return impl_->weights;
}

std::vector<Tensor> Session::run(ExecContext& ctx, std::span<const TensorView> inputs) {
  const Program& program = impl_->program;
  WAN_CHECK(&ctx.backend == &impl_->backend, kInternal,
            "[onnx] a session is run on the backend that it was made for");
  WAN_CHECK(inputs.size() == impl_->inputs.size(), kInvalidArgument, "[{}] it has {} inputs, got {}",
            impl_->model.name(), impl_->inputs.size(), inputs.size());
  std::vector<HostTensor> slots(program.slots);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const ValueInfo& wanted = impl_->inputs[i];
    const Shape shape(wanted.dims);
    WAN_CHECK(inputs[i].shape() == shape && inputs[i].dtype() == wanted.dtype && inputs[i].is_contiguous() &&
                  inputs[i].device().kind == DeviceKind::kCpu,
              kInvalidArgument, "[{}] its input {} is {} {} on the host, contiguous; got {} {}",
              impl_->model.name(), quote_name(wanted.name), dtype_name(wanted.dtype), shape.to_string(),
              dtype_name(inputs[i].dtype()), inputs[i].shape().to_string());
    slots[program.input_slots[i]] = HostTensor(wanted.dtype, shape, inputs[i].data(), nullptr);
  }
  const Workspace::Scope scope(ctx.workspace);
  std::byte* arena = nullptr;
  if (program.arena_bytes > 0)
    arena = ctx.workspace.take(DType::kU8, {static_cast<std::int64_t>(program.arena_bytes)}).data();
  Running running(ctx, arena, program.storages, slots);
  for (const Step& step : program.steps) {
    ctx.check_cancelled();
    step.action(running);
    for (const std::size_t slot : step.freed) slots[slot] = {};
  }
  // The host reads weights where they are mapped.
  if (ctx.backend.device().kind == DeviceKind::kCpu) impl_->model.check_read();
  std::vector<Tensor> results;
  for (const std::size_t slot : program.output_slots) {
    const HostTensor& value = slots[slot];
    results.emplace_back(value.dtype(), value.shape());
    if (value.elements() > 0) std::memcpy(results.back().view().data(), value.data(), value.bytes());
  }
  return results;
}

}  // namespace wan::onnx
