#include "doctor/link_tests.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "kept/recovery.h"

namespace wan {

namespace {

constexpr int kRepeats = 4;

/// Values that differ from place to place and from seed to seed, as 32 bits each.
Tensor pattern(std::int64_t elements, std::uint32_t seed) {
  Tensor values(DType::kF32, {elements});
  auto* const words = reinterpret_cast<std::uint32_t*>(values.view().data());
  std::uint32_t word = seed * 2654435761u + 1;
  for (std::int64_t i = 0; i < elements; ++i) words[i] = word = word * 1664525u + 1013904223u;
  return values;
}

bool holds(ComputeDevice& device, const TensorView& view, const Tensor& expected) {
  Tensor host(DType::kF32, expected.shape());
  device.synchronize();
  device.download(view, host);
  device.synchronize();
  return std::memcmp(host.view().data(), expected.view().data(), expected.bytes()) == 0;
}

/// Of a call, after one that is not counted.
double seconds_of(const std::function<void()>& call) {
  call();
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kRepeats; ++i) call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / kRepeats;
}

Tensor uploaded(ComputeDevice& device, const Tensor& host) {
  Tensor there(device.allocator(), DType::kF32, host.shape());
  device.upload(host, there);
  device.synchronize();
  return there;
}

/// One rank's part of an exchange.
struct ExchangeRank {
  double seconds = 0;
  bool equal = true;
};

ExchangeRank exchange_on(ComputeDevice& device, Communicator& ranks, std::int64_t elements) {
  const auto seed = [&](int from, int to) {
    return static_cast<std::uint32_t>(1 + from * ranks.size() + to);
  };
  std::vector<Tensor> sent;
  std::vector<Tensor> received;
  for (int peer = 0; peer < ranks.size(); ++peer) {
    sent.push_back(uploaded(device, pattern(elements, seed(ranks.rank(), peer))));
    received.push_back(uploaded(device, Tensor(DType::kF32, {elements})));
  }
  const std::vector<TensorView> send(sent.begin(), sent.end());
  const std::vector<TensorView> receive(received.begin(), received.end());
  ExchangeRank result;
  ranks.barrier();
  result.seconds = seconds_of([&] {
    ranks.all_to_all(send, receive);
    device.synchronize();
  });
  for (int peer = 0; peer < ranks.size(); ++peer)
    result.equal =
        holds(device, receive[static_cast<std::size_t>(peer)], pattern(elements, seed(peer, ranks.rank()))) &&
        result.equal;
  ranks.barrier();  // nobody's memory goes while another reads it
  return result;
}

}  // namespace

DoctorPair measure_pair(ComputeDevice& from, ComputeDevice& to, std::int64_t elements) {
  DoctorPair pair{.from = from.device().index, .to = to.device().index};
  try {
    const Tensor values = pattern(elements, 1);
    const Tensor source = uploaded(from, values);
    const Tensor target = uploaded(to, pattern(elements, 2));
    std::function<void()> copy = [&] {
      to.copy_from(source, target);
      to.synchronize();
    };
    Tensor host;
    try {
      from.share_memory_with(to);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kUnsupported) throw;
      host = Tensor(DType::kF32, values.shape());
      copy = [&] {
        from.download(source, host);
        to.upload(host, target);
        to.synchronize();
      };
    }
    pair.bytes_per_second = static_cast<double>(values.bytes()) / seconds_of(copy);
    pair.equal = holds(to, target, values);
  } catch (const Error& error) {
    pair.failure = error.what();
  }
  return pair;
}

double measure_upload(ComputeDevice& device, std::int64_t elements) {
  const Tensor values = pattern(elements, 1);
  const Tensor target = uploaded(device, values);
  return static_cast<double>(values.bytes()) / seconds_of([&] {
           device.upload(values, target);
           device.synchronize();
         });
}

DoctorExchange test_exchange(std::span<ComputeDevice* const> devices, Links links, std::int64_t elements,
                             std::chrono::milliseconds timeout) {
  DoctorExchange result{.ranks = static_cast<int>(devices.size()), .equal = true};
  for (ComputeDevice* const device : devices)
    result.devices += (result.devices.empty() ? "" : ", ") + to_string(device->device());
  const double received = static_cast<double>(elements * static_cast<std::int64_t>(sizeof(float))) *
                          static_cast<double>(devices.size() - 1);
  std::mutex mutex;
  double slowest = 0;
  try {
    auto ranks = make_local_communicators(devices, timeout, links);
    std::vector<std::thread> threads;
    for (std::size_t rank = 0; rank < devices.size(); ++rank)
      threads.emplace_back([&, rank] {
        try {
          const ExchangeRank done = exchange_on(*devices[rank], *ranks[rank], elements);
          const std::lock_guard lock(mutex);
          slowest = std::max(slowest, done.seconds);
          result.equal = result.equal && done.equal;
        } catch (...) {
          const Error error = current_failure();
          {
            const std::lock_guard lock(mutex);
            if (result.failure.empty()) result.failure = error.what();
          }
          ranks[rank]->abort(error);
        }
      });
    for (std::thread& thread : threads) thread.join();
  } catch (const Error& error) {
    result.failure = error.what();
  }
  result.equal = result.equal && result.failure.empty();
  if (result.equal && slowest > 0) result.bytes_per_second = received / slowest;
  return result;
}

}  // namespace wan
