// Convolutions and attention through cuDNN's graphs. One file, because cudnn-frontend's headers take a minute to compile.

#include <cudnn_frontend.h>

#include <map>
#include <optional>
#include <unordered_map>

#include "backends/cuda/attention_library.h"
#include "backends/cuda/check.h"
#include "backends/cuda/convolution_library.h"
#include "base/error.h"
#include "base/log.h"

namespace wan::cuda {

namespace {

namespace fe = cudnn_frontend;
using fe::graph::Tensor_attributes;

constexpr std::int64_t kMostWorkspace = std::int64_t{2} << 30;
using Numbers = std::vector<std::int64_t>;

void check_dnn(cudnnStatus_t status, const char* call, int line) {
  WAN_CHECK(status == CUDNN_STATUS_SUCCESS, kDevice, "[cuda] {} failed: {} at {}:{}", call,
            cudnnGetErrorString(status), __FILE__, line);
}

#define WAN_CUDNN(call) check_dnn((call), #call, __LINE__)

/// cuDNN's handle, made at first use: it takes memory and time.
class CudnnHandle {
 public:
  CudnnHandle() = default;
  CudnnHandle(const CudnnHandle&) = delete;
  CudnnHandle& operator=(const CudnnHandle&) = delete;
  ~CudnnHandle() {
    if (handle_ != nullptr) cudnnDestroy(handle_);
  }
  cudnnHandle_t on(cudaStream_t stream) {
    if (handle_ == nullptr) WAN_CUDNN(cudnnCreate(&handle_));
    WAN_CUDNN(cudnnSetStream(handle_, stream));
    return handle_;
  }

 private:
  cudnnHandle_t handle_ = nullptr;
};

/// Names of a graph's tensors towards execute().
enum Uid : std::int64_t { kX = 1, kWeight, kBias, kResidual, kOut, kQuery, kKey, kValue };
using Pointers = std::unordered_map<std::int64_t, void*>;

fe::DataType_t type_of(const TensorView& view) {
  return view.dtype() == DType::kBF16 ? fe::DataType_t::BFLOAT16 : fe::DataType_t::FLOAT;
}

Tensor_attributes tensor(Uid uid, const TensorView& view, const Numbers& dims, const Numbers& strides) {
  Tensor_attributes made;
  made.set_uid(uid).set_data_type(type_of(view)).set_dim(dims).set_stride(strides);
  return made;
}

/// A graph with a plan, or the reason why cuDNN has none.
struct Plan {
  std::unique_ptr<fe::graph::Graph> graph;
  std::int64_t workspace = 0;
};

std::unique_ptr<fe::graph::Graph> new_graph(const TensorView& out) {
  auto graph = std::make_unique<fe::graph::Graph>();
  graph->set_io_data_type(type_of(out))
      .set_intermediate_data_type(fe::DataType_t::FLOAT)
      .set_compute_data_type(fe::DataType_t::FLOAT);
  return graph;
}

/// The first plan of cuDNN's heuristics that this device runs. `what`: for a note where there is none.
std::optional<Plan> make_plan(cudnnHandle_t handle, std::unique_ptr<fe::graph::Graph> graph,
                              bool tensor_cores, const std::string& what) {
  const auto refused = [&](const std::string& why) {
    log(LogLevel::kDebug, fmt::format("[cuda] cuDNN has no plan for {}: {}", what, why));
    return std::nullopt;
  };
  try {
    if (auto status = graph->validate(); status.is_bad()) return refused(status.get_message());
    if (auto status = graph->build_operation_graph(handle); status.is_bad())
      return refused(status.get_message());
    if (auto status = graph->create_execution_plans({fe::HeurMode_t::A, fe::HeurMode_t::FALLBACK});
        status.is_bad())
      return refused(status.get_message());
    // For f32 data the engines on tensor cores are those that multiply in TF32.
    if (!tensor_cores) graph->deselect_numeric_notes({fe::NumericalNote_t::TENSOR_CORE});
    graph->deselect_workspace_greater_than(kMostWorkspace);
    if (auto status = graph->check_support(handle); status.is_bad()) return refused(status.get_message());
    if (auto status = graph->build_plans(handle, fe::BuildPlanPolicy_t::HEURISTICS_CHOICE); status.is_bad())
      return refused(status.get_message());
    Plan plan;
    if (auto status = graph->get_workspace_size(plan.workspace); status.is_bad())
      return refused(status.get_message());
    plan.graph = std::move(graph);
    return plan;
  } catch (const fe::cudnnException& error) {
    return refused(error.what());
  }
}

void execute(const Plan& plan, cudnnHandle_t handle, Workspace& workspace, Pointers pointers) {
  const Workspace::Scope scope(workspace);
  void* scratch = nullptr;
  if (plan.workspace > 0) {
    // Aligned as device allocations are, which cuDNN may count on; the workspace's own alignment is less.
    constexpr std::int64_t kAlignment = 256;
    std::byte* const taken = workspace.take(DType::kU8, {plan.workspace + kAlignment}).data();
    scratch = taken + (kAlignment - reinterpret_cast<std::intptr_t>(taken) % kAlignment) % kAlignment;
  }
  auto status = plan.graph->execute(handle, pointers, scratch);
  WAN_CHECK(status.is_good(), kDevice, "[cuda] a plan of cuDNN failed: {}", status.get_message());
}

/// Frames [T, H, W, C] as cuDNN's dimensions: one video (N, C, T, H, W), or, for kernels of one frame, as many pictures
/// (N, C, H, W), for which it has more engines.
Numbers frame_dims(const TensorView& v, bool pictures) {
  if (pictures) return {v.dim(0), v.dim(3), v.dim(1), v.dim(2)};
  return {1, v.dim(3), v.dim(0), v.dim(1), v.dim(2)};
}

Numbers frame_strides(const TensorView& v, bool pictures) {
  const std::int64_t channels = v.dim(3);
  const std::int64_t row = v.dim(2) * channels;
  const std::int64_t frame = v.dim(0) > 1 ? v.stride(0) : v.dim(1) * row;
  if (pictures) return {frame, 1, row, channels};
  return {v.dim(0) * frame, 1, frame, row, channels};
}

std::unique_ptr<fe::graph::Graph> convolution_graph(const Conv3dArgs& args) {
  const TensorView& w = args.weight;
  const bool pictures = w.dim(1) == 1 && args.stride[0] == 1;
  auto graph = new_graph(args.out);
  const auto x =
      graph->tensor(tensor(kX, args.x, frame_dims(args.x, pictures), frame_strides(args.x, pictures)));
  const std::int64_t inputs = w.dim(4);
  const std::int64_t row = w.dim(3) * inputs;
  const std::int64_t frame = w.dim(2) * row;
  const std::int64_t kernel = w.dim(1) * frame;
  const Numbers dims = pictures ? Numbers{w.dim(0), inputs, w.dim(2), w.dim(3)}
                                : Numbers{w.dim(0), inputs, w.dim(1), w.dim(2), w.dim(3)};
  const Numbers strides = pictures ? Numbers{kernel, 1, row, inputs} : Numbers{kernel, 1, frame, row, inputs};
  const auto weight = graph->tensor(tensor(kWeight, w, dims, strides));
  const auto spatial = [&](std::int64_t time, std::int64_t height, std::int64_t width) {
    return pictures ? Numbers{height, width} : Numbers{time, height, width};
  };
  auto result = graph->conv_fprop(x, weight,
                                  fe::graph::Conv_fprop_attributes()
                                      .set_padding(spatial(0, args.padding.top, args.padding.left))
                                      .set_stride(spatial(args.stride[0], args.stride[1], args.stride[2]))
                                      .set_dilation(spatial(1, 1, 1)));
  const auto add = fe::graph::Pointwise_attributes().set_mode(fe::PointwiseMode_t::ADD);
  if (args.bias) {
    Numbers ones(pictures ? 4 : 5, 1);
    ones[1] = w.dim(0);
    Numbers bias_strides(ones.size(), w.dim(0));
    bias_strides[1] = 1;
    result = graph->pointwise(result, graph->tensor(tensor(kBias, args.bias, ones, bias_strides)), add);
  }
  if (args.residual) {
    const auto residual = graph->tensor(tensor(kResidual, args.residual, frame_dims(args.residual, pictures),
                                               frame_strides(args.residual, pictures)));
    result = graph->pointwise(result, residual, add);
  }
  result->set_output(true)
      .set_uid(kOut)
      .set_data_type(type_of(args.out))
      .set_dim(frame_dims(args.out, pictures))
      .set_stride(frame_strides(args.out, pictures));
  return graph;
}

void append(Numbers& key, const TensorView& view) {
  key.push_back(view.empty() ? -1 : static_cast<std::int64_t>(view.dtype()));
  if (view.empty()) return;
  for (int i = 0; i < view.rank(); ++i) {
    key.push_back(view.dim(i));
    key.push_back(view.stride(i));
  }
  // Engines are chosen for 16-byte alignment, which cuDNN takes for granted.
  key.push_back(static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(view.data()) % 16));
}

/// Where cuDNN's engines can be trusted with a view's frames: they read 16 bytes at once where the channels allow it,
/// whatever lies between the frames.
bool aligned(const TensorView& view) {
  constexpr std::int64_t kBytes = 16;
  if (view.empty()) return true;
  if (reinterpret_cast<std::uintptr_t>(view.data()) % kBytes != 0) return false;
  const bool gaps = view.rank() > 1 && view.dim(0) > 1 && !view.is_contiguous();
  return !gaps || view.stride(0) * static_cast<std::int64_t>(dtype_size(view.dtype())) % kBytes == 0;
}

std::unique_ptr<fe::graph::Graph> attention_graph(const AttentionArgs& args) {
  const auto dims = [](const TensorView& v) { return Numbers{1, v.dim(1), v.dim(0), v.dim(2)}; };
  const auto strides = [](const TensorView& v) {
    return Numbers{v.dim(0) * v.stride(0), v.stride(1), v.stride(0), 1};
  };
  auto graph = new_graph(args.out);
  const auto q = graph->tensor(tensor(kQuery, args.q, dims(args.q), strides(args.q)));
  const auto k = graph->tensor(tensor(kKey, args.k, dims(args.k), strides(args.k)));
  const auto v = graph->tensor(tensor(kValue, args.v, dims(args.v), strides(args.v)));
  auto options = fe::graph::SDPA_attributes();
  options.set_name("attention").set_generate_stats(false).set_attn_scale(args.scale);
  const auto outputs = graph->sdpa(q, k, v, std::move(options));
  outputs[0]->set_output(true).set_uid(kOut).set_dim(dims(args.out)).set_stride(strides(args.out));
  return graph;
}

}  // namespace

struct ConvolutionLibrary::Impl {
  bool tf32;
  CudnnHandle handle;
  std::map<Numbers, std::optional<Plan>> plans;
};

ConvolutionLibrary::ConvolutionLibrary(bool tf32) : impl_(std::make_unique<Impl>()) {
  impl_->tf32 = tf32;
}
ConvolutionLibrary::~ConvolutionLibrary() = default;

bool ConvolutionLibrary::run(cudaStream_t stream, Workspace& workspace, const Conv3dArgs& args) {
  for (const TensorView& view : {args.x, args.weight, args.bias, args.residual, args.out})
    if (!aligned(view)) return false;
  Numbers key{args.stride[0], args.stride[1], args.stride[2], args.padding.top, args.padding.left};
  for (const TensorView& view : {args.x, args.weight, args.bias, args.residual, args.out}) append(key, view);
  const cudnnHandle_t handle = impl_->handle.on(stream);
  auto found = impl_->plans.find(key);
  if (found == impl_->plans.end()) {
    const std::string what = fmt::format("a convolution of {} by {}{}{}", args.x.shape().to_string(),
                                         args.weight.shape().to_string(), args.bias ? ", bias" : "",
                                         args.residual ? ", residual" : "");
    const bool tensor_cores = impl_->tf32 || args.x.dtype() == DType::kBF16;
    found = impl_->plans.emplace(key, make_plan(handle, convolution_graph(args), tensor_cores, what)).first;
  }
  if (!found->second) return false;
  Pointers pointers{{kX, args.x.data()}, {kWeight, args.weight.data()}, {kOut, args.out.data()}};
  if (args.bias) pointers.emplace(kBias, args.bias.data());
  if (args.residual) pointers.emplace(kResidual, args.residual.data());
  execute(*found->second, handle, workspace, std::move(pointers));
  return true;
}

struct AttentionLibrary::Impl {
  CudnnHandle handle;
  std::map<std::pair<Numbers, float>, std::optional<Plan>> plans;
};

AttentionLibrary::AttentionLibrary() : impl_(std::make_unique<Impl>()) {}
AttentionLibrary::~AttentionLibrary() = default;

bool AttentionLibrary::run(cudaStream_t stream, Workspace& workspace, const AttentionArgs& args) {
  Numbers key;
  for (const TensorView& view : {args.q, args.k, args.v, args.out}) append(key, view);
  const cudnnHandle_t handle = impl_->handle.on(stream);
  auto found = impl_->plans.find({key, args.scale});
  if (found == impl_->plans.end()) {
    const std::string what =
        fmt::format("attention of {} queries, {} keys", args.q.shape().to_string(), args.k.dim(0));
    found =
        impl_->plans.emplace(std::pair(key, args.scale), make_plan(handle, attention_graph(args), true, what))
            .first;
  }
  if (!found->second) return false;
  execute(*found->second, handle, workspace,
          {{kQuery, args.q.data()}, {kKey, args.k.data()}, {kValue, args.v.data()}, {kOut, args.out.data()}});
  return true;
}

}  // namespace wan::cuda
