// Rates of the Hopper attention with other tiles than the backend's, at a video's lengths, each beside how far its result is from
// the backend's. What is best here belongs into run_hopper_attention().
//
//   build-cuda/bench/hopper_tiles [TOKENS, 75600; 256 or more]

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <vector>

#include "backends/cuda/attention_library.h"
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/handles.h"
#include "backends/cuda/kernels/hopper_attention_kernel.h"
#include "ops/backend.h"
#include "ops/copy.h"
#include "ops/dispatch.h"

namespace {

using namespace wan;
using wan::cuda::hopper::Shift;

struct Bench {
  std::unique_ptr<Backend> backend = make_cuda_backend({});
  CudaDeviceInfo info = cuda_device_info(0);
  Workspace workspace{backend->allocator()};
  SelfCommunicator communicator;
  ExecContext ctx{*backend, workspace, communicator, {}, nullptr, true};
  wan::cuda::Stream stream;
  Shape shape;
  Tensor q, k, v, out;
  Tensor expected;  // on the host

  explicit Bench(std::int64_t tokens) : shape{tokens, 40, 128} {
    std::uint64_t seed = 1;
    for (Tensor* tensor : {&q, &k, &v}) {
      const Tensor f32(backend->allocator(), DType::kF32, shape);
      backend->draw_cuda_normals(
          {.seed = seed++, .multiprocessors = 100, .threads_per_multiprocessor = 2048, .out = f32});
      *tensor = Tensor(backend->allocator(), DType::kBF16, shape);
      copy(ctx, {f32, *tensor});
    }
    out = Tensor(backend->allocator(), DType::kBF16, shape);
    workspace.reserve(std::size_t{64} << 20);
    backend->synchronize();
  }

  Tensor result() {
    Tensor host(DType::kBF16, {256, 40, 128});  // the last queries, whose tile is cut short
    backend->download(out.view().slice(0, shape[0] - 256, shape[0]), host);
    return host;
  }

  AttentionArgs args() const { return {q, k, v, 1.0f / std::sqrt(128.0f), {}, {}, out}; }

  void measure(const char* name, const std::function<void()>& call) {
    try {
      call();
      std::vector<float> times;
      for (int i = 0; i < 7; ++i) {
        wan::cuda::Event begin(wan::cuda::Event::Kind::kTimed);
        wan::cuda::Event end(wan::cuda::Event::Kind::kTimed);
        begin.record(stream);
        for (int repeat = 0; repeat < 3; ++repeat) call();
        end.record(stream);
        times.push_back(end.milliseconds_since(begin) / 3);
      }
      std::sort(times.begin(), times.end());
      const double flops = 4.0 * static_cast<double>(shape[0]) * static_cast<double>(shape[0]) * 5120;
      std::printf("%-44s %9.3f ms (%.3f to %.3f) %7.1f TF/s, ", name, times[3], times.front(), times.back(),
                  1e-9 * flops / times[3]);
      print_difference();
    } catch (const Error& error) {
      std::printf("%-44s %s\n", name, error.what());
    }
    std::fflush(stdout);
  }

  void print_difference() {
    Tensor actual = result();
    if (expected.empty()) {
      expected = std::move(actual);
      std::printf("the backend's\n");
      return;
    }
    double error = 0.0;
    double norm = 0.0;
    for (std::int64_t i = 0; i < 256; ++i)
      for (std::int64_t h = 0; h < 40; ++h)
        for (std::int64_t d = 0; d < 128; ++d) {
          const double e = load_element(expected, {i, h, d});
          error += std::pow(load_element(actual, {i, h, d}) - e, 2);
          norm += e * e;
        }
    std::printf("off by %.1e\n", std::sqrt(error / norm));
  }
};

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::int64_t tokens = argc > 1 ? std::atoll(argv[1]) : 75600;
    WAN_CHECK(tokens >= 256, kInvalidArgument, "{} tokens: expected 256 or more", tokens);
    Bench bench(tokens);
    std::printf("%s, %lld tokens, 40 heads of 128\n", bench.info.name.c_str(),
                static_cast<long long>(bench.shape[0]));
    const auto args = bench.args();
    const int count = bench.info.multiprocessors;
    const auto ours = [&] {
      const Workspace::Scope scope(bench.workspace);
      wan::cuda::run_hopper_attention(bench.stream, bench.workspace, count, args);
    };
    const std::int64_t clusters =
        (bench.shape[0] + wan::cuda::kHopperQueries - 1) / wan::cuda::kHopperQueries;
    const Tensor overflows(bench.backend->allocator(), DType::kI32, {args.q.dim(1), clusters});
    WAN_CUDA(cudaMemset(overflows.view().data(), 0, overflows.bytes()));
    const auto tile = [&]<int kKeys, Shift kShift>() {
      wan::cuda::hopper::launch<kKeys, kShift, false>(bench.stream, count, args,
                                                      overflows.view().as<std::int32_t>());
    };
    bench.measure("the backend's", ours);
    bench.measure("128 keys", [&] { tile.template operator()<128, Shift::kOfTheFirst>(); });
    bench.measure("160 keys", [&] { tile.template operator()<160, Shift::kOfTheFirst>(); });
    bench.measure("176 keys", [&] { tile.template operator()<176, Shift::kOfTheFirst>(); });
    bench.measure("192 keys", [&] { tile.template operator()<192, Shift::kOfTheFirst>(); });
    bench.measure("176 keys, the greatest of all", [&] { tile.template operator()<176, Shift::kOfAll>(); });
    bench.measure("the backend's, once more", ours);
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
