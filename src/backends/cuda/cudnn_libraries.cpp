// Convolutions and attention through cuDNN's graphs. One file, because cudnn-frontend's headers take a minute to compile.

#include <cudnn_frontend.h>

#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "backends/cuda/attention_library.h"
#include "backends/cuda/check.h"
#include "backends/cuda/convolution_library.h"
#include "backends/cuda/plan_cache.h"
#include "backends/cuda/scratch.h"
#include "base/error.h"
#include "base/log.h"

namespace wan::cuda {

namespace {

namespace fe = cudnn_frontend;
using fe::graph::Tensor_attributes;

constexpr std::int64_t kAlignment =
    256;  // of device allocations, which cuDNN may count on; a workspace's own is less

// Scratch of a plan: little where some plan makes do with it, which is asked for whichever plan is chosen.
constexpr std::int64_t kLittleWorkspace = kConvolutionWorkspaceBytes - kAlignment;
constexpr std::int64_t kMostWorkspace = std::int64_t{2} << 30;

// Tuning: plans that are tried, and the work from which on a convolution is worth it.
constexpr int kMostCandidates = 12;
constexpr double kWorthTuning = 2e10;

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
enum Uid : std::int64_t { kX = 1, kWeight, kBias, kOut, kQuery, kKey, kValue, kLogSums };
using Pointers = std::unordered_map<std::int64_t, void*>;

fe::DataType_t cudnn_type_of(const TensorView& view) {
  return view.dtype() == DType::kBF16 ? fe::DataType_t::BFLOAT16 : fe::DataType_t::FLOAT;
}

Tensor_attributes tensor(Uid uid, const TensorView& view, const Numbers& dims, const Numbers& strides) {
  Tensor_attributes made;
  made.set_uid(uid).set_data_type(cudnn_type_of(view)).set_dim(dims).set_stride(strides);
  return made;
}

/// A graph with a plan: one of those that cuDNN's heuristics give.
struct Plan {
  std::shared_ptr<fe::graph::Graph> graph;
  std::int64_t index = 0;
  std::int64_t workspace = 0;

  /// The engine and its parameters, by which the same plan is found for a graph of another size.
  std::string name() const {
    std::string found;
    return graph->get_plan_name_at_index(index, found).is_good() ? found : std::string();
  }
};

/// Before a plan is added: with the one that gives way go kernels that cuDNN compiled for it, which may still be running.
template <typename Key>
void wait_where_full(const PlanCache<Key, std::optional<Plan>>& plans, cudaStream_t stream) {
  if (plans.full()) WAN_CUDA(cudaStreamSynchronize(stream));
}

std::unique_ptr<fe::graph::Graph> new_graph(const TensorView& out) {
  auto graph = std::make_unique<fe::graph::Graph>();
  graph->set_io_data_type(cudnn_type_of(out))
      .set_intermediate_data_type(fe::DataType_t::FLOAT)
      .set_compute_data_type(fe::DataType_t::FLOAT);
  return graph;
}

/// What plans are made of, and which are wanted.
struct PlanRequest {
  std::function<std::unique_ptr<fe::graph::Graph>()> graph;
  bool tensor_cores;
  bool compile;      // engines that are compiled for the graph too, which takes a second
  std::string what;  // for a note where there is no plan
};

/// The first plans of cuDNN's heuristics that this device runs within so much scratch, `most` at most; `why`: the reason where
/// there is none. Several share their graph.
std::vector<Plan> plans_within(cudnnHandle_t handle, const PlanRequest& request, std::int64_t workspace,
                               int most, std::string& why) {
  std::vector<Plan> plans;
  try {
    auto graph = request.graph();
    const auto failed = [&](fe::error_t status) {
      if (status.is_bad()) why = status.get_message();
      return status.is_bad();
    };
    if (failed(graph->validate()) || failed(graph->build_operation_graph(handle)) ||
        failed(graph->create_execution_plans({fe::HeurMode_t::A, fe::HeurMode_t::FALLBACK})))
      return plans;
    // The same bits in every run.
    graph->deselect_numeric_notes({fe::NumericalNote_t::NONDETERMINISTIC});
    if (!request.compile) graph->deselect_behavior_notes({fe::BehaviorNote_t::RUNTIME_COMPILATION});
    // For f32 data the engines on tensor cores are those that multiply in TF32.
    if (!request.tensor_cores) graph->deselect_numeric_notes({fe::NumericalNote_t::TENSOR_CORE});
    graph->deselect_workspace_greater_than(workspace);
    const std::shared_ptr<fe::graph::Graph> shared = std::move(graph);
    for (std::int64_t i = 0; i < shared->get_execution_plan_count(); ++i) {
      if (static_cast<int>(plans.size()) == most) break;
      Plan plan{.graph = shared, .index = i};
      if (failed(shared->build_plan_at_index(i)) ||
          failed(shared->get_workspace_size_plan_at_index(i, plan.workspace)))
        continue;
      plans.push_back(std::move(plan));
    }
  } catch (const fe::cudnnException& error) {
    why = error.what();
  }
  return plans;
}

std::vector<Plan> make_plans(cudnnHandle_t handle, const PlanRequest& request, int most) {
  std::string why = "its heuristics know none";
  for (const std::int64_t workspace : {kLittleWorkspace, kMostWorkspace})
    if (auto plans = plans_within(handle, request, workspace, most, why); !plans.empty()) return plans;
  log(LogLevel::kDebug, fmt::format("[cuda] cuDNN has no plan for {}: {}", request.what, why));
  return {};
}

/// What a plan works in: bytes taken for it beforehand, or more of the workspace where they are too few.
struct Memory {
  Workspace& workspace;
  TensorView taken;
};

fe::error_t try_execute(const Plan& plan, cudnnHandle_t handle, const Memory& memory, Pointers pointers) {
  const Workspace::Scope scope(memory.workspace);
  std::byte* scratch = nullptr;
  if (plan.workspace > 0) {
    const std::int64_t bytes = plan.workspace + kAlignment;
    scratch = memory.taken.elements() >= bytes ? memory.taken.data()
                                               : memory.workspace.take(DType::kU8, {bytes}).data();
    scratch += (kAlignment - reinterpret_cast<std::intptr_t>(scratch) % kAlignment) % kAlignment;
  }
  return plan.graph->execute_plan_at_index(handle, pointers, scratch, plan.index);
}

void execute(const Plan& plan, cudnnHandle_t handle, const Memory& memory, Pointers pointers) {
  auto status = try_execute(plan, handle, memory, std::move(pointers));
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
  if (args.bias) {
    const auto add = fe::graph::Pointwise_attributes().set_mode(fe::PointwiseMode_t::ADD);
    Numbers ones(pictures ? 4 : 5, 1);
    ones[1] = w.dim(0);
    Numbers bias_strides(ones.size(), w.dim(0));
    bias_strides[1] = 1;
    result = graph->pointwise(result, graph->tensor(tensor(kBias, args.bias, ones, bias_strides)), add);
  }
  result->set_output(true)
      .set_uid(kOut)
      .set_data_type(cudnn_type_of(args.out))
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
  const bool sums = !args.log_sums.empty();
  options.set_name("attention").set_generate_stats(sums).set_attn_scale(args.scale);
  const auto outputs = graph->sdpa(q, k, v, std::move(options));
  outputs[0]->set_output(true).set_uid(kOut).set_dim(dims(args.out)).set_stride(strides(args.out));
  if (sums) {
    const std::int64_t heads = args.q.dim(1);
    const std::int64_t queries = args.q.dim(0);
    outputs[1]
        ->set_output(true)
        .set_uid(kLogSums)
        .set_data_type(fe::DataType_t::FLOAT)
        .set_dim({1, heads, queries, 1})
        .set_stride({heads * queries, queries, 1, 1});
  }
  return graph;
}

}  // namespace

struct ConvolutionLibrary::Impl {
  bool tf32;
  Tuner* tuner;
  CudnnHandle handle;
  PlanCache<Numbers, std::optional<Plan>> plans;
  PlanCache<Numbers, std::string> tuned;  // the fastest plans' names, whatever the number of frames

  std::optional<Plan> make_plan(cudaStream_t stream, const Memory& memory, const Conv3dArgs& args);
};

ConvolutionLibrary::ConvolutionLibrary(bool tf32, Tuner* tuner) : impl_(std::make_unique<Impl>()) {
  impl_->tf32 = tf32;
  impl_->tuner = tuner;
}
ConvolutionLibrary::~ConvolutionLibrary() = default;

namespace {

Pointers pointers_of(const Conv3dArgs& args) {
  Pointers pointers{{kX, args.x.data()}, {kWeight, args.weight.data()}, {kOut, args.out.data()}};
  if (args.bias) pointers.emplace(kBias, args.bias.data());
  return pointers;
}

double flops_of(const Conv3dArgs& args) {
  return 2.0 * static_cast<double>(args.out.elements()) *
         static_cast<double>(args.weight.elements() / args.weight.dim(0));
}

/// What the choice of a plan depends on: anything but the number of frames.
Numbers tuning_key(const Conv3dArgs& args) {
  Numbers key{args.stride[0],   args.stride[1],    args.stride[2],
              args.padding.top, args.padding.left, args.x.dim(1),
              args.x.dim(2),    args.bias ? 1 : 0, static_cast<std::int64_t>(args.x.dtype())};
  for (int i = 0; i < args.weight.rank(); ++i) key.push_back(args.weight.dim(i));
  return key;
}

}  // namespace

std::optional<Plan> ConvolutionLibrary::Impl::make_plan(cudaStream_t stream, const Memory& memory,
                                                        const Conv3dArgs& args) {
  // The engines that cuDNN compiles for a graph are no faster than the best of the others, and one gave wrong frames (cuDNN
  // 9.19: bf16, a kernel of 3 x 1 x 1 with a bias, from the second frame on).
  const PlanRequest request{.graph = [&] { return convolution_graph(args); },
                            .tensor_cores = tf32 || args.x.dtype() == DType::kBF16,
                            .compile = false,
                            .what = fmt::format("a convolution of {} by {}{}", args.x.shape().to_string(),
                                                args.weight.shape().to_string(), args.bias ? ", bias" : "")};
  const cudnnHandle_t on_stream = handle.on(stream);
  const bool worth_tuning = tuner != nullptr && flops_of(args) >= kWorthTuning;
  std::vector<Plan> candidates = make_plans(on_stream, request, worth_tuning ? kMostCandidates : 1);
  if (candidates.empty()) return std::nullopt;
  if (candidates.size() == 1) return std::move(candidates.front());
  const Numbers key = tuning_key(args);
  if (const std::string* known = tuned.find(key))
    for (Plan& candidate : candidates)
      if (candidate.name() == *known) return std::move(candidate);
  const Pointers pointers = pointers_of(args);
  const int best = tuner->choose(stream, static_cast<int>(candidates.size()), args.out, [&](int i) {
    return try_execute(candidates[static_cast<std::size_t>(i)], on_stream, memory, pointers).is_good();
  });
  if (best < 0) return std::nullopt;
  Plan& chosen = candidates[static_cast<std::size_t>(best)];
  tuned.add(key, chosen.name());
  log(LogLevel::kDebug, fmt::format("[cuda] {}: plan {} of {}, {}, is the fastest", request.what, best + 1,
                                    candidates.size(), chosen.name()));
  return std::move(chosen);
}

bool ConvolutionLibrary::run(cudaStream_t stream, Workspace& workspace, const TensorView& scratch,
                             const Conv3dArgs& args) {
  const Memory memory{workspace, scratch};
  const auto views = {args.x, args.weight, args.bias, args.out};
  for (const TensorView& view : views)
    if (!aligned(view)) return false;
  Numbers key{args.stride[0], args.stride[1], args.stride[2], args.padding.top, args.padding.left};
  for (const TensorView& view : views) append(key, view);
  std::optional<Plan>* found = impl_->plans.find(key);
  if (found == nullptr) {
    wait_where_full(impl_->plans, stream);
    found = &impl_->plans.add(key, impl_->make_plan(stream, memory, args));
  }
  if (!*found) return false;
  execute(**found, impl_->handle.on(stream), memory, pointers_of(args));
  return true;
}

struct AttentionLibrary::Impl {
  CudnnHandle handle;
  PlanCache<std::pair<Numbers, float>, std::optional<Plan>> plans;
};

AttentionLibrary::AttentionLibrary() : impl_(std::make_unique<Impl>()) {}
AttentionLibrary::~AttentionLibrary() = default;

bool AttentionLibrary::run(cudaStream_t stream, Workspace& workspace, const AttentionArgs& args) {
  Numbers key;
  for (const TensorView& view : {args.q, args.k, args.v, args.out}) append(key, view);
  key.push_back(args.log_sums.empty() ? 0 : 1);
  const cudnnHandle_t handle = impl_->handle.on(stream);
  std::optional<Plan>* found = impl_->plans.find({key, args.scale});
  if (found == nullptr) {
    const PlanRequest request{
        .graph = [&] { return attention_graph(args); },
        .tensor_cores = true,
        .compile = true,
        .what = fmt::format("attention of {} queries, {} keys", args.q.shape().to_string(), args.k.dim(0))};
    std::vector<Plan> plans = make_plans(handle, request, 1);
    wait_where_full(impl_->plans, stream);
    found = &impl_->plans.add({key, args.scale},
                              plans.empty() ? std::nullopt : std::optional(std::move(plans.front())));
  }
  if (!*found) return false;
  Pointers pointers{
      {kQuery, args.q.data()}, {kKey, args.k.data()}, {kValue, args.v.data()}, {kOut, args.out.data()}};
  if (args.log_sums) pointers.emplace(kLogSums, args.log_sums.data());
  execute(**found, handle, {workspace, {}}, std::move(pointers));
  return true;
}

}  // namespace wan::cuda
