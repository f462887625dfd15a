// ONNX models on our ops, against ONNX Runtime (tools/golden/make_onnx.py), and each operator against ONNX's own test cases.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <set>

#include "onnx/operators.h"
#include "onnx/reader.h"
#include "onnx/session.h"
#include "onnx/tensor_reader.h"
#include "support/expect_error.h"
#include "support/generation_backends.h"
#include "support/golden.h"
#include "support/temp_folder.h"

namespace wan::test {
namespace {

namespace fs = std::filesystem;

/// u(first) .. of make_onnx.py.
std::vector<float> uniform(std::uint64_t first, std::size_t count) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    std::uint64_t z = (first + i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    values[i] = static_cast<float>(z >> 40) / static_cast<float>(1 << 23) - 1.0f;
  }
  return values;
}

/// A golden network with its weights, which the rule gives.
class Network {
 public:
  explicit Network(const std::string& name) : name_(name), model(onnx::Model::open(with_weights())) {}

  Tensor pictures(const Shape& shape) const {
    Tensor made(DType::kF32, shape);
    const std::vector<float> values = uniform(0, static_cast<std::size_t>(shape.elements()));
    for (std::size_t i = 0; i < values.size(); ++i) made.as<float>()[i] = (values[i] + 1.0f) / 2.0f;
    return made;
  }
  Expected expected(const std::string& output) const { return golden_.expected(name_ + "." + output); }

 private:
  /// The folder, as it is published: a model and the files of its weights.
  const fs::path& with_weights() const {
    fs::copy_file(golden_path("onnx/" + name_ + "/end2end.onnx"), folder_.path() / "end2end.onnx");
    std::ofstream file(folder_.path() / "weights.bin", std::ios::binary);
    const std::vector<std::int64_t> table = golden_.integers(name_ + ".weights");
    std::uint64_t first = 0;
    for (std::size_t row = 0; row + 2 < table.size(); row += 3) {
      std::vector<float> values = uniform(first, static_cast<std::size_t>(table[row]));
      const float scale = std::ldexp(1.0f, static_cast<int>(table[row + 1]));
      for (float& value : values) value = static_cast<float>(table[row + 2]) / 256.0f + scale * value;
      file.write(reinterpret_cast<const char*>(values.data()),
                 static_cast<std::streamsize>(values.size() * sizeof(float)));
      first += values.size();
    }
    return folder_.path();
  }

  std::string name_;
  GoldenFile golden_{golden_path("onnx/expected.safetensors")};
  TempFolder folder_;

 public:
  onnx::Model model;
};

struct OnnxContext {
  explicit OnnxContext(const char* name)
      : backend(make_generation_backend(name)), workspace(backend->allocator()) {}
  std::unique_ptr<Backend> backend;
  Workspace workspace;
  SelfCommunicator communicator;
  ExecContext ctx{.backend = *backend, .workspace = workspace, .communicator = communicator};
};

TEST(OnnxModels, ComputeWhatOnnxRuntimeDoes) {
  for (const char* backend : generation_backends())
    for (const auto& [name, shape] : {std::pair<const char*, Shape>{"detector", {1, 3, 64, 64}},
                                      {"pose_11", {2, 3, 64, 48}},
                                      {"pose_17", {2, 3, 64, 48}},
                                      {"operators", {2, 6, 9, 7}}}) {
      SCOPED_TRACE(std::string(backend) + " " + name);
      OnnxContext on(backend);
      const Network network(name);
      onnx::Session session(network.model, *on.backend, std::vector{shape});
      const Tensor pictures = network.pictures(shape);
      const std::vector<Tensor> results = session.run(on.ctx, std::vector{pictures.view()});
      ASSERT_EQ(results.size(), session.outputs().size());
      for (std::size_t i = 0; i < results.size(); ++i) {
        const Expected expected = network.expected(session.outputs()[i].name);
        // Some sixty layers of f32, each with a rounding of its own order of sums.
        EXPECT_TRUE(all_close(results[i], expected, 1e-5)) << session.outputs()[i].name;
        EXPECT_EQ(session.outputs()[i].dims.size(), static_cast<std::size_t>(results[i].shape().rank()));
      }
    }
}

TEST(OnnxModels, ABatchIsItsPicturesAndASecondRunAllocatesNothing) {
  for (const char* backend : generation_backends()) {
    OnnxContext on(backend);
    const Network network("pose_11");
    onnx::Session three(network.model, *on.backend, std::vector{Shape{3, 3, 64, 48}});
    const std::size_t weights = three.weight_bytes();
    onnx::Session one(network.model, *on.backend, std::vector{Shape{1, 3, 64, 48}},
                      {.weights = three.weights()});
    EXPECT_EQ(three.weights().get(), one.weights().get());
    EXPECT_EQ(three.weight_bytes(), weights) << "the second session has loaded them again";
    const Tensor pictures = network.pictures({3, 3, 64, 48});
    const std::vector<Tensor> all = three.run(on.ctx, std::vector{pictures.view()});
    const int allocations = on.workspace.allocations();
    const std::vector<Tensor> again = three.run(on.ctx, std::vector{pictures.view()});
    EXPECT_EQ(on.workspace.allocations(), allocations);
    EXPECT_TRUE(all_close(again[0], all[0], 0.0));
    for (std::int64_t i = 0; i < 3; ++i) {
      const Tensor single = std::move(one.run(on.ctx, std::vector{pictures.view().slice(0, i, i + 1)})[0]);
      EXPECT_TRUE(all_close(single, all[0].view().slice(0, i, i + 1), 1e-5)) << i;
    }
  }
}

TEST(OnnxModels, MemoryIsTakenAgainWhenItsValueIsNotNeededAnyMore) {
  OnnxContext on(generation_backends().front());
  const Network network("detector");
  const onnx::Session session(network.model, *on.backend, std::vector{Shape{1, 3, 64, 64}});
  // The largest value, [1, 8, 32, 32] in f32, is 32 KB; all of them together are more than a hundred times that.
  EXPECT_LT(session.memory_bytes(), std::size_t{32} * 1024 * 12);
}

TEST(OnnxModels, WrongInputsAreTold) {
  OnnxContext on(generation_backends().front());
  const Network network("detector");
  expect_error(ErrorCode::kInvalidArgument, "declared as [1, 3, 64, 64]", [&] {
    onnx::Session(network.model, *on.backend, std::vector{Shape{1, 3, 32, 64}});
  });
  expect_error(ErrorCode::kInvalidArgument, "1 inputs, got 2", [&] {
    onnx::Session(network.model, *on.backend, std::vector{Shape{1, 3, 64, 64}, Shape{1}});
  });
  onnx::Session session(network.model, *on.backend, std::vector{Shape{1, 3, 64, 64}});
  const Tensor bytes(DType::kU8, {1, 3, 64, 64});
  expect_error(ErrorCode::kInvalidArgument, "is f32 [1, 3, 64, 64]",
               [&] { session.run(on.ctx, std::vector{bytes.view()}); });
  const std::atomic<bool> stop{true};
  on.ctx.cancelled = &stop;
  const Tensor pictures = network.pictures({1, 3, 64, 64});
  expect_error(ErrorCode::kCancelled, "", [&] { session.run(on.ctx, std::vector{pictures.view()}); });
}

// ONNX's own cases (Debian's libonnx-testdata): a folder each, with a model, inputs and outputs.

constexpr const char* kCases = "/usr/share/libonnx-testdata/data/node";

onnx::NamedTensor read_case_tensor(const fs::path& path) {
  const auto file = std::make_shared<const MappedFile>(path);
  const std::string where = path.string();
  onnx::ExternalFiles none{{}};
  const std::shared_ptr<const void> keep = file;
  return onnx::read_tensor(file->bytes(), {where, none, keep});
}

struct Case {
  std::shared_ptr<const onnx::Graph> graph;
  std::vector<onnx::HostTensor> inputs, outputs;
};

Case read_case(const fs::path& folder) {
  Case made;
  const auto file = std::make_shared<const MappedFile>(folder / "model.onnx");
  onnx::ExternalFiles none{{}};
  made.graph = onnx::read_graph(file->bytes(), folder.filename().string(), none, file);
  const fs::path data = folder / "test_data_set_0";
  for (std::size_t i = 0; i < made.graph->inputs.size(); ++i)
    made.inputs.push_back(read_case_tensor(data / ("input_" + std::to_string(i) + ".pb")).values);
  for (std::size_t i = 0; i < made.graph->outputs.size(); ++i)
    made.outputs.push_back(read_case_tensor(data / ("output_" + std::to_string(i) + ".pb")).values);
  return made;
}

/// The same graph with all inputs from `first` on as constants, and as many outputs.
std::shared_ptr<const onnx::Graph> with_constants(const Case& given, std::size_t first, std::size_t outputs) {
  auto graph = std::make_shared<onnx::Graph>(*given.graph);
  graph->outputs.resize(outputs);
  if (graph->nodes.size() == 1) graph->nodes[0].outputs.resize(outputs);
  for (std::size_t i = first; i < given.inputs.size(); ++i)
    graph->constants.emplace(graph->inputs[i].name, given.inputs[i]);
  graph->inputs.resize(std::min(first, graph->inputs.size()));
  return graph;
}

void expect_values(const TensorView& actual, const onnx::HostTensor& given) {
  const onnx::HostTensor expected = given.aligned();
  ASSERT_EQ(actual.shape().to_string(), expected.shape().to_string());
  ASSERT_EQ(actual.dtype(), expected.dtype());
  const bool known = onnx::with_host_type(expected.dtype(), [&]<typename T>(T) {
    for (std::int64_t i = 0; i < expected.elements(); ++i) {
      const T a = reinterpret_cast<const T*>(actual.data())[i];
      const T e = expected.as<T>()[i];
      if constexpr (std::is_floating_point_v<T>) {
        if (std::isnan(e) || std::isinf(e)) {
          ASSERT_TRUE(std::isnan(e) ? std::isnan(a) : a == e) << i;
        } else {
          // ONNX's own tolerance is 1e-3 of the value and 1e-7.
          ASSERT_NEAR(static_cast<double>(a), static_cast<double>(e),
                      1e-4 * std::fabs(static_cast<double>(e)) + 2e-6)
              << i;
        }
      } else {
        ASSERT_EQ(a, e) << i;
      }
    }
  });
  if (!known) {
    EXPECT_EQ(std::memcmp(actual.data(), expected.data(), expected.bytes()), 0);
  }
}

/// Runs the case with the inputs from `first` on as constants.
void run_case(const Case& given, std::size_t first, std::size_t outputs, OnnxContext& on) {
  const onnx::Model model(with_constants(given, first, outputs));
  std::vector<Shape> shapes;
  std::vector<onnx::HostTensor> inputs;
  std::vector<TensorView> views;
  for (std::size_t i = 0; i < model.inputs().size(); ++i) {
    shapes.push_back(given.inputs[i].shape());
    inputs.push_back(given.inputs[i].aligned());
    views.push_back(inputs.back().view());
  }
  onnx::Session session(model, *on.backend, shapes);
  const std::vector<Tensor> results = session.run(on.ctx, views);
  ASSERT_EQ(results.size(), outputs);
  for (std::size_t i = 0; i < results.size(); ++i) expect_values(results[i], given.outputs[i]);
}

/// Cases of operators that we have which are refused, by the beginnings of their names.
constexpr std::pair<const char*, const char*> kRefused[] = {
    {"test_argmax_", "select_last_index"},
    {"test_batchnorm_", "training_mode"},
    {"test_convtranspose_1d", ""},
    {"test_convtranspose_3d", ""},
    {"test_convtranspose_autopad_same", ""},
    {"test_convtranspose_dilations", ""},
    {"test_convtranspose_kernel_shape", ""},
    {"test_convtranspose_output_shape", ""},
    {"test_max_example", ""},  // three inputs
    {"test_max_one_input", ""},
    {"test_min_example", ""},
    {"test_min_one_input", ""},
    {"test_max_", "float16"},
    {"test_min_", "float16"},
    {"test_mod_", "float16"},
    {"test_maxpool_1d_default", ""},
    {"test_maxpool_3d_default", ""},
    {"test_maxpool_2d_uint8", ""},
    {"test_resize_", "cubic"},
    {"test_resize_", "tf_"},
    {"test_training_dropout", ""},
};
bool is_refused(const std::string& name) {
  return std::any_of(std::begin(kRefused), std::end(kRefused), [&](const auto& entry) {
    return name.starts_with(entry.first) && name.find(entry.second) != std::string::npos;
  });
}

/// ONNX Runtime does not give what is expected here either: the scale is taken for one of lengths that are no whole numbers.
constexpr const char* kDisputed = "test_resize_downsample_scales_linear_align_corners";

TEST(OnnxOperators, PassOnnxsOwnCases) {
  if (!fs::is_directory(kCases)) GTEST_SKIP() << "libonnx-testdata is not installed";
  for (const char* backend : generation_backends()) {
    OnnxContext on(backend);
    int passed = 0;
    for (const auto& entry : fs::directory_iterator(kCases)) {
      const std::string name = entry.path().filename().string();
      SCOPED_TRACE(std::string(backend) + " " + name);
      Case given;
      try {
        given = read_case(entry.path());
      } catch (const Error&) {
        continue;  // strings, sequences, unsigned numbers, older or newer operators
      }
      const auto& nodes = given.graph->nodes;
      const bool ours = std::all_of(nodes.begin(), nodes.end(), [](const onnx::Node& node) {
        return onnx::find_operator(node.op) != nullptr;
      });
      if (!ours || name == kDisputed) continue;
      // All inputs but the first constant; none; all. Then of several results the first alone.
      int runs = 0;
      std::string why;
      for (const std::size_t outputs : {given.outputs.size(), std::size_t{1}})
        for (const std::size_t first : {std::size_t{1}, given.inputs.size(), std::size_t{0}}) {
          if (runs > 0 && outputs != given.outputs.size()) continue;
          SCOPED_TRACE(first);
          try {
            run_case(given, first, outputs, on);
            ++runs;
          } catch (const Error& error) {
            why = error.what();
          }
        }
      EXPECT_EQ(runs == 0, is_refused(name)) << why;
      passed += runs > 0 ? 1 : 0;
    }
    EXPECT_GT(passed, 350) << "cases are missing";
  }
}

}  // namespace
}  // namespace wan::test
