#include "engine/layout_times.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <mutex>
#include <vector>

#include "engine/rank_threads.h"
#include "ops/linear.h"

namespace wan {

namespace {

/// Of a call, after one that is not counted.
double seconds_of(const std::function<void()>& call) {
  constexpr int kRepeats = 4;
  call();
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kRepeats; ++i) call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / kRepeats;
}

/// As many of a product's rows as take a while.
double measure_product(Backend& backend, DType dtype) {
  constexpr std::int64_t kWidth = 2048;
  constexpr std::int64_t kMostRows = 8192;
  constexpr double kLong = 1e-3;  // seconds
  Workspace workspace(backend.allocator());
  SelfCommunicator alone;
  ExecContext ctx{.backend = backend, .workspace = workspace, .communicator = alone};
  const Tensor weight(backend.allocator(), dtype, {kWidth, kWidth});
  const Tensor x(backend.allocator(), dtype, {kMostRows, kWidth});
  const Tensor out(backend.allocator(), dtype, x.shape());
  for (std::int64_t rows = 128;; rows *= 2) {
    const LinearArgs product{x.view().slice(0, 0, rows), weight, {}, out.view().slice(0, 0, rows)};
    const double seconds = seconds_of([&] {
      linear(ctx, product);
      backend.synchronize();
    });
    if (seconds >= kLong || rows == kMostRows) return static_cast<double>(product.flops()) / seconds;
  }
}

/// Bytes that this rank receives in a second.
double measure_exchange(Backend& backend, Communicator& ranks) {
  constexpr std::int64_t kBytes = std::int64_t{8} << 20;  // to each
  std::vector<Tensor> memory;
  std::vector<TensorView> send;
  std::vector<TensorView> receive;
  for (int peer = 0; peer < 2 * ranks.size(); ++peer) {
    memory.emplace_back(backend.allocator(), DType::kU8, Shape{kBytes});
    (peer < ranks.size() ? send : receive).push_back(memory.back());
  }
  ranks.barrier();
  const double seconds = seconds_of([&] {
    ranks.all_to_all(send, receive);
    backend.synchronize();
  });
  ranks.barrier();  // nobody's memory goes while another reads it
  return static_cast<double>(kBytes) * (ranks.size() - 1) / seconds;
}

}  // namespace

PassDemand pass_demand(const WanConfig& config, const Shape& latent, DType activations) {
  const std::int64_t patches =
      latent[1] / config.patch[0] * (latent[2] / config.patch[1]) * (latent[3] / config.patch[2]);
  const auto tokens = static_cast<double>(patches);
  const auto dim = static_cast<double>(config.dim);
  // Of a token: queries, keys, values and output of self-attention, queries and output of cross-attention, the feed-forward.
  const double products = 2 * (6 * dim * dim + 2 * dim * static_cast<double>(config.ffn_dim));
  const double attention = 4 * tokens * dim;
  const auto layers = static_cast<double>(config.num_layers);
  return {.flops = layers * tokens * (products + attention),
          .bytes = layers * 4 * tokens * dim * static_cast<double>(dtype_size(activations))};
}

RankRates measure_rates(std::span<Backend* const> ranks, DType weights, const EngineOptions& options) {
  RankRates rates{.flops_per_second = measure_product(*ranks.front(), weights), .link_bytes_per_second = 0};
  std::vector<ComputeDevice*> memory;
  std::vector<Device> devices;
  for (Backend* const rank : ranks) {
    memory.push_back(rank);
    devices.push_back(rank->device());
  }
  const std::vector<RankConnection> connections =
      connect_devices(memory, {.sequence = static_cast<int>(ranks.size())}, options);
  std::mutex mutex;
  on_rank_threads(
      devices,
      [&](int rank) {
        const auto i = static_cast<std::size_t>(rank);
        const double measured = measure_exchange(*ranks[i], *connections[i].all);
        const std::lock_guard lock(mutex);
        double& slowest = rates.link_bytes_per_second;
        slowest = slowest > 0 ? std::min(slowest, measured) : measured;
      },
      [&](int rank, const Error& cause) { connections[static_cast<std::size_t>(rank)].abort(cause); },
      [] { return false; });
  return rates;
}

StepTimes step_times(const PassDemand& work, const RankRates& rates, const RankLayout& layout,
                     int guided_steps, int steps) {
  const double ranks = layout.sequence;
  const double second_passes = layout.groups > 1 ? 0 : static_cast<double>(guided_steps) / steps;
  const double passes = 1 + second_passes;
  return {.computing = passes * work.flops / rates.flops_per_second / ranks,
          .exchanging = passes * work.bytes * (ranks - 1) / (ranks * ranks) / rates.link_bytes_per_second};
}

}  // namespace wan
