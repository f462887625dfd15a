// The backend's host code on a fake machine: devices and drivers that are not there, memory that runs out, transfers, views
// of the wrong device.

#include "backends/cuda/cuda_backend.h"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstring>
#include <future>
#include <thread>
#include <vector>

#include "backends/cuda/check.h"
#include "cuda_emulation/fake_runtime.h"
#include "ops/attention.h"
#include "ops/finite.h"
#include "ops/linear.h"
#include "parallel/local/local_communicator.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/guarded.h"
#include "support/scratch_cases.h"

namespace wan::test {
namespace {

using cuda_emulation::fake_machine;
using cuda_emulation::FakeMachine;

/// Changes the fake machine for one test.
class CudaBackend : public ::testing::Test {
 protected:
  ~CudaBackend() override { fake_machine() = FakeMachine(); }
};

::testing::AssertionResult says(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << '"' << text << "\" does not say \"" << part << '"';
}

TEST_F(CudaBackend, SaysWhyThereIsNoDevice) {
  EXPECT_EQ(cuda_unusable_reason(0), "");
  EXPECT_EQ(cuda_device_count(), 1);
  EXPECT_TRUE(says(cuda_unusable_reason(1), "there is no cuda:1: the driver shows 1 device"));
  EXPECT_TRUE(says(cuda_unusable_reason(-1), "there is no cuda:-1"));
  fake_machine().devices = 0;
  EXPECT_EQ(cuda_device_count(), 0);
  EXPECT_NE(cuda_unusable_reason(0), "");
  fake_machine() = FakeMachine();
  fake_machine().driver_version = 0;
  EXPECT_TRUE(says(cuda_unusable_reason(0), "no NVIDIA driver is loaded"));
  fake_machine().driver_version = 11040;
  EXPECT_TRUE(says(cuda_unusable_reason(0), "the NVIDIA driver is too old: it runs CUDA 11.4"));
  fake_machine() = FakeMachine();
  fake_machine().has_code = false;
  EXPECT_TRUE(says(cuda_unusable_reason(0), "-DWAN_CUDA_ARCHITECTURES=86"));
  try {
    make_cuda_backend({});
    ADD_FAILURE() << "a device without code was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  }
}

TEST_F(CudaBackend, TellsAboutItsDevice) {
  const CudaDeviceInfo info = cuda_device_info(0);
  EXPECT_EQ(info.name, "Emulated GPU");
  EXPECT_EQ(info.multiprocessors, 2);
  EXPECT_EQ(info.threads_per_multiprocessor, 1536);
  EXPECT_EQ(info.total_bytes, std::int64_t{8} << 30);
  EXPECT_THROW(cuda_device_info(3), Error);
}

TEST_F(CudaBackend, MovesMoreThanItsStagingBlocksHold) {
  const auto backend = make_cuda_backend({});
  constexpr std::int64_t kMost = (std::int64_t{100} << 20) + 12345;
  const Tensor values(DType::kU8, {kMost});
  for (std::int64_t i = 0; i < kMost; ++i) values.view().data()[i] = static_cast<std::byte>(i * 31 % 251);
  for (const std::int64_t bytes :
       {std::int64_t{0}, std::int64_t{1}, std::int64_t{32} << 20, (std::int64_t{64} << 20) + 1, kMost}) {
    const TensorView from = values.view().slice(0, 0, bytes);
    const Tensor there(backend->allocator(), DType::kU8, {bytes});
    const Tensor back(DType::kU8, {bytes});
    backend->upload(from, there);
    backend->download(there, back);
    EXPECT_TRUE(bytes == 0 ||
                std::memcmp(from.data(), back.view().data(), static_cast<std::size_t>(bytes)) == 0);
  }
  const Tensor host(DType::kF32, {4});
  const Tensor there(backend->allocator(), DType::kF32, {4});
  EXPECT_THROW(backend->upload(host, host), Error);
  EXPECT_THROW(backend->upload(there, there), Error);
  EXPECT_THROW(backend->upload(Tensor(DType::kF32, {5}), there), Error);
  EXPECT_THROW(backend->download(there, Tensor(DType::kBF16, {4})), Error);
}

TEST_F(CudaBackend, UploadsFromSeveralThreadsWhatASourceWrites) {
  const auto backend = make_cuda_backend({});
  constexpr int kThreads = 20;  // more than there are staging blocks
  constexpr std::int64_t kBytes = (std::int64_t{9} << 20) + 5;
  std::vector<std::byte> values(static_cast<std::size_t>(kBytes) + kThreads);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::byte>(i * 31 % 251);
  const auto of_thread = [&](int thread) { return values.data() + thread; };  // no two alike
  std::vector<Tensor> there;
  for (int i = 0; i < 2 * kThreads; ++i) there.emplace_back(backend->allocator(), DType::kU8, Shape{kBytes});
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread)
    threads.emplace_back([&, thread] {
      const UploadSource source = [&](std::byte* host, std::size_t first, std::size_t count) {
        std::memcpy(host, of_thread(thread) + first, count);
      };
      backend->upload_from(source, there[static_cast<std::size_t>(thread)]);
      backend->upload_beside(source, there[static_cast<std::size_t>(kThreads + thread)]);
    });
  for (std::thread& thread : threads) thread.join();
  const Tensor back(DType::kU8, {kBytes});
  for (std::size_t i = 0; i < there.size(); ++i) {
    backend->download(there[i], back);
    ASSERT_EQ(std::memcmp(back.view().data(), of_thread(static_cast<int>(i) % kThreads), back.view().bytes()),
              0)
        << i;
  }
  EXPECT_THROW(backend->upload_from(upload_source(back), back), Error);
  EXPECT_THROW(backend->upload_beside(upload_source(back), back), Error);
  EXPECT_THROW(upload_source(there[0]), Error);
}

TEST_F(CudaBackend, TellsHowMuchMemoryThereWas) {
  const auto backend = make_cuda_backend({});
  const std::int64_t before = backend->memory_use().now;
  {
    const Tensor large(backend->allocator(), DType::kU8, {std::int64_t{1} << 30});
    EXPECT_EQ(backend->memory_use().now, before + (std::int64_t{1} << 30));
    try {
      const Tensor larger(backend->allocator(), DType::kU8, {std::int64_t{8} << 30});
      ADD_FAILURE() << "more than there is was given";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kOutOfMemory);
      EXPECT_TRUE(says(error.what(), "cannot allocate 8.59 GB"));
      EXPECT_TRUE(says(error.what(), "of 8.59 GB are free"));
      EXPECT_TRUE(says(error.what(), "holds 1.07 GB"));
    }
  }
  EXPECT_EQ(backend->memory_use().now, before);
  EXPECT_EQ(backend->memory_use().peak, before + (std::int64_t{1} << 30));
}

TEST_F(CudaBackend, SaysWhereToLookWhenCudaItselfFindsNoMemory) {
  try {
    cuda::check(cudaErrorMemoryAllocation, "cudaSetDevice(device)", "file.cpp", 1);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutOfMemory);
    EXPECT_TRUE(says(error.what(), "cudaSetDevice(device) failed"));
    EXPECT_TRUE(says(error.what(), "nvidia-smi shows which programs hold it"));
  }
  try {
    cuda::check(cudaErrorInvalidValue, "cudaFree(data)", "file.cpp", 1);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDevice);
    EXPECT_FALSE(says(error.what(), "nvidia-smi"));
  }
}

TEST_F(CudaBackend, ReservesWhatTheLibrariesHaveNotTakenYet) {
  constexpr std::int64_t kGb = std::int64_t{1} << 30;
  const auto backend = make_cuda_backend({});
  const std::int64_t expected = backend->reserved_bytes();
  EXPECT_GT(expected, kGb / 2);
  EXPECT_LE(expected, kGb);
  {
    const Tensor weights(backend->allocator(), DType::kU8, {kGb});
    EXPECT_EQ(backend->reserved_bytes(), expected) << "what the allocator gives out is no library's";
  }
  void* kernels = nullptr;
  ASSERT_EQ(cudaMalloc(&kernels, kGb / 4), cudaSuccess);
  EXPECT_EQ(backend->reserved_bytes(), expected - kGb / 4);
  void* more = nullptr;
  ASSERT_EQ(cudaMalloc(&more, 2 * kGb), cudaSuccess);
  EXPECT_EQ(backend->reserved_bytes(), 0);
  cudaFree(kernels);
  cudaFree(more);
}

TEST_F(CudaBackend, KeepsAPoolOfItsOwnWhoseRestIsFree) {
  constexpr std::int64_t kBytes = std::int64_t{256} << 20;
  const std::size_t before = cuda_emulation::fake_used_bytes();
  {
    const auto backend = make_cuda_backend({});
    const auto other = make_cuda_backend({});
    const std::int64_t free = backend->free_bytes();
    const std::int64_t reserved = backend->reserved_bytes();
    const std::size_t at_first = cuda_emulation::fake_used_bytes();
    {
      Workspace workspace(backend->allocator());
      const Workspace::Scope scope(workspace);
      workspace.take(DType::kU8, {kBytes});
      EXPECT_EQ(backend->free_bytes(), free - kBytes);
    }
    EXPECT_EQ(cuda_emulation::fake_used_bytes(), at_first + kBytes) << "the pool keeps what was released";
    EXPECT_EQ(backend->free_bytes(), free) << "and it is free all the same";
    EXPECT_EQ(backend->reserved_bytes(), reserved) << "no library has it";
    EXPECT_EQ(other->free_bytes(), free - kBytes) << "but not for another backend";
    {
      const Tensor again(backend->allocator(), DType::kU8, {kBytes});
      EXPECT_EQ(cuda_emulation::fake_used_bytes(), at_first + kBytes) << "and is taken again";
      EXPECT_EQ(backend->free_bytes(), free - kBytes);
    }
    EXPECT_EQ(cuda_emulation::fake_default_pool_keeps(), 0u) << "the process's pool is left as it was";
    backend->allocator().trim();
    EXPECT_EQ(cuda_emulation::fake_used_bytes(), at_first);
  }
  EXPECT_EQ(cuda_emulation::fake_used_bytes(), before);
}

TEST_F(CudaBackend, LeavesTheCallersDeviceAsItWas) {
  fake_machine().devices = 2;
  const auto current = [] {
    int device = -1;
    cudaGetDevice(&device);
    return device;
  };
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
  {
    // Each call finds the other device current; a launch or a mark on the wrong one is an error of the fake runtime.
    auto backend = make_cuda_backend({.device = 1});
    EXPECT_EQ(current(), 0) << "made";
    Workspace workspace(backend->allocator());
    SelfCommunicator communicator;
    ExecContext ctx{*backend, workspace, communicator, {}, nullptr, true};
    const Guarded x = random_tensor(DType::kF32, {16, 32}, 1);
    const Guarded weight = random_tensor(DType::kF32, {8, 32}, 2);
    Tensor there(backend->allocator(), DType::kF32, {16, 32});
    const Tensor matrix(backend->allocator(), DType::kF32, {8, 32});
    const Tensor product(backend->allocator(), DType::kF32, {16, 8});
    EXPECT_EQ(current(), 0) << "allocated";
    backend->upload(x, there);
    backend->upload_beside(upload_source(weight), matrix);
    EXPECT_EQ(current(), 0) << "uploaded";
    activation(ctx, {there, ActivationKind::kSiLU, there});
    linear(ctx, {there, matrix, {}, product});
    EXPECT_EQ(count_non_finite(ctx, product), 0);
    EXPECT_EQ(current(), 0) << "ran ops";
    backend->draw_cuda_normals({.multiprocessors = 2, .threads_per_multiprocessor = 1536, .out = there});
    EXPECT_EQ(current(), 0) << "drew";
    backend->mark_work()->wait();
    backend->synchronize();
    EXPECT_EQ(current(), 0) << "waited";
    backend->download(there, Tensor(DType::kF32, {16, 32}));
    EXPECT_GT(backend->free_bytes(), backend->reserved_bytes());
    EXPECT_THROW(Tensor(backend->allocator(), DType::kU8, {std::int64_t{1} << 40}), Error);
    there = Tensor();
    backend->allocator().trim();
    EXPECT_EQ(current(), 0) << "released";
    EXPECT_THROW(activation(ctx, {there, ActivationKind::kSiLU, there}), Error);
    EXPECT_EQ(cuda_unusable_reason(1), "");
    EXPECT_EQ(current(), 0) << "refused";
  }
  EXPECT_EQ(current(), 0) << "ended";
}

TEST_F(CudaBackend, CopiesRowsFromTheMemoryOfAnother) {
  fake_machine().devices = 2;
  const auto first = make_cuda_backend({.device = 0});
  const auto second = make_cuda_backend({.device = 1});
  first->share_memory_with(*second);
  const Tensor values(DType::kF32, {4, 6, 2});
  for (std::int64_t i = 0; i < values.elements(); ++i) values.as<float>()[i] = static_cast<float>(i);
  const Tensor there(first->allocator(), DType::kF32, values.shape());
  const Tensor here(second->allocator(), DType::kF32, {4, 2, 2});
  first->upload(values, there);
  second->wait_for(*first->mark_work());
  second->copy_from(there.view().slice(1, 1, 3), here);
  const Tensor copied(DType::kF32, here.shape());
  second->download(here, copied);
  for (std::int64_t token = 0; token < 4; ++token)
    for (std::int64_t i = 0; i < 4; ++i)
      EXPECT_EQ(copied.as<float>()[token * 4 + i], static_cast<float>(token * 12 + 2 + i));
  EXPECT_THROW(second->copy_from(there.view().slice(1, 1, 3).slice(2, 0, 1), here.view().slice(2, 0, 1)),
               Error)
      << "no rows";
  EXPECT_THROW(second->copy_from(here, there), Error) << "into the other one's memory";
  EXPECT_THROW(second->copy_beside(here, there), Error) << "into the other one's memory";
  const Tensor whole(second->allocator(), DType::kF32, values.shape());
  std::thread([&] { second->copy_beside(there, whole); }).join();
  const Tensor back(DType::kF32, values.shape());
  second->download(whole, back);
  EXPECT_TRUE(all_close(back, values, 0));
  fake_machine().has_links = false;
  expect_error(ErrorCode::kUnsupported, "no direct link", [&] { first->share_memory_with(*second); });
}

TEST_F(CudaBackend, CountsHowLongItsWorkWaitsForAnother) {
  fake_machine().devices = 2;
  const auto first = make_cuda_backend({.device = 0});
  const auto second = make_cuda_backend({.device = 1});
  fake_machine().wait_milliseconds = 250.0f;
  fake_machine().is_behind = true;
  second->wait_for(*first->mark_work());
  second->wait_for(*first->mark_work());
  EXPECT_EQ(second->waited_seconds(), 0) << "its work is not there yet";
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "nothing is left for the next launch";
  fake_machine().is_behind = false;
  EXPECT_NEAR(second->waited_seconds(), 0.5, 1e-6);
  second->wait_for(*first->mark_work());
  second->wait_for(*first->mark_work());
  EXPECT_NEAR(std::async([&] { return second->waited_seconds(); }).get(), 1.0, 1e-6);
  EXPECT_EQ(first->waited_seconds(), 0);
}

/// Two devices exchange halves of rows: both have both halves then.
void expect_exchange(Links links) {
  const std::unique_ptr<Backend> backends[] = {make_cuda_backend({.device = 0}),
                                               make_cuda_backend({.device = 1})};
  ComputeDevice* const devices[] = {backends[0].get(), backends[1].get()};
  const auto communicators = make_local_communicators(devices, kRankTimeout, links);
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < 2; ++rank)
    threads.emplace_back([&, rank] {
      Backend& backend = *backends[rank];
      for (int repeat = 0; repeat < 3; ++repeat) {  // larger every time
        const std::int64_t tokens = 3 + 2 * repeat;
        const auto value = [&](std::size_t from, std::int64_t i) {
          return static_cast<float>(1000 * (from + 1)) + static_cast<float>(i + repeat);
        };
        const Tensor host(DType::kF32, {tokens, 4, 2});
        for (std::int64_t i = 0; i < host.elements(); ++i) host.as<float>()[i] = value(rank, i);
        const Tensor mine(backend.allocator(), DType::kF32, host.shape());
        const Tensor got(backend.allocator(), DType::kF32, {2 * tokens, 2, 2});
        backend.upload(host, mine);
        const TensorView send[] = {mine.view().slice(1, 0, 2), mine.view().slice(1, 2, 4)};
        const TensorView recv[] = {got.view().slice(0, 0, tokens), got.view().slice(0, tokens, 2 * tokens)};
        if (repeat == 1)
          communicators[rank]->all_to_all(send, recv);
        else
          communicators[rank]->begin_all_to_all(send, recv)->finish();
        const Tensor back(DType::kF32, got.shape());
        backend.download(got, back);
        for (std::int64_t token = 0; token < 2 * tokens; ++token)
          for (std::int64_t i = 0; i < 4; ++i)
            ASSERT_EQ(back.as<float>()[token * 4 + i],
                      value(static_cast<std::size_t>(token / tokens),
                            token % tokens * 8 + static_cast<std::int64_t>(rank) * 4 + i));
        const Tensor word(backend.allocator(), DType::kF32, {1});
        const Tensor text(DType::kF32, {1});
        *text.as<float>() = static_cast<float>(rank + 5);
        backend.upload(text, word);
        communicators[rank]->broadcast(word, 1);
        backend.download(word, text);
        ASSERT_EQ(*text.as<float>(), 6.0f);
      }
    });
  for (std::thread& thread : threads) thread.join();
}

TEST_F(CudaBackend, CopiesInAQueueMoveRowsAndHaveMarks) {
  fake_machine().devices = 2;
  const auto first = make_cuda_backend({.device = 0});
  const auto second = make_cuda_backend({.device = 1});
  first->share_memory_with(*second);
  const Tensor host(DType::kF32, {3, 4, 2});
  for (std::int64_t i = 0; i < host.elements(); ++i) host.as<float>()[i] = static_cast<float>(i);
  const Tensor there(first->allocator(), DType::kF32, host.shape());
  const Tensor here(second->allocator(), DType::kF32, {3, 2, 2});
  first->upload(host, there);
  const auto queue = second->make_copy_queue();
  queue->wait_for(*first->mark_work());
  queue->copy(there.view().slice(1, 1, 3), here);
  second->wait_for(*queue->mark());
  const Tensor back(DType::kF32, here.shape());
  second->download(here, back);
  for (std::int64_t row = 0; row < 3; ++row)
    for (std::int64_t i = 0; i < 4; ++i)
      EXPECT_EQ(back.as<float>()[row * 4 + i], host.as<float>()[row * 8 + 2 + i]);
  std::thread([&] { queue->mark()->wait(); }).join();
}

TEST_F(CudaBackend, DevicesExchangeDirectlyAndThroughTheHost) {
  fake_machine().devices = 2;
  for (const Links links : {Links::kAuto, Links::kDirect, Links::kHost}) expect_exchange(links);
  fake_machine().has_links = false;
  for (const Links links : {Links::kAuto, Links::kHost}) expect_exchange(links);
  const auto first = make_cuda_backend({.device = 0});
  const auto second = make_cuda_backend({.device = 1});
  ComputeDevice* const devices[] = {first.get(), second.get()};
  expect_error(ErrorCode::kUnsupported, "no direct link",
               [&] { make_local_communicators(devices, kRankTimeout, Links::kDirect); });
}

TEST_F(CudaBackend, OpsTakeTheScratchThatIsStated) {
  const auto backend = make_cuda_backend({});
  expect_scratch_as_stated(*backend);
}

TEST_F(CudaBackend, RefusesViewsOfTheHost) {
  const auto backend = make_cuda_backend({});
  Workspace workspace(backend->allocator());
  SelfCommunicator communicator;
  ExecContext ctx{*backend, workspace, communicator, {}, nullptr, true};
  const Tensor host(DType::kF32, {4});
  const Tensor there(backend->allocator(), DType::kF32, {4});
  EXPECT_THROW(activation(ctx, {host, ActivationKind::kSiLU, there}), Error);
  EXPECT_THROW(activation(ctx, {there, ActivationKind::kSiLU, host}), Error);
  EXPECT_NO_THROW(activation(ctx, {there, ActivationKind::kSiLU, there}));
}

TEST_F(CudaBackend, AttentionByProductsTakesScoresInBlocks) {
  // Wide heads, so that they go that way whatever their size; blocks of several heads, of one, and of a part of one.
  constexpr std::int64_t kKeys = 6;
  constexpr std::int64_t kWidth = 400;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const Guarded q = random_tensor(dtype, {60, 3, kWidth}, 1);
    const Guarded k = random_tensor(dtype, {kKeys, 3, kWidth}, 2);
    const Guarded v = random_tensor(dtype, {kKeys, 3, kWidth}, 3);
    const Guarded bias = random_tensor(DType::kF32, {3, 60, kKeys}, 4);
    const Tensor expected(DType::kF64, {60, 3, kWidth});
    reference(AttentionArgs{q, k, v, 0.05f, bias, {}, expected});
    for (const std::int64_t scores :
         {std::int64_t{1}, 7 * kKeys, 40 * kKeys, 140 * kKeys, std::int64_t{1} << 24}) {
      const auto backend = make_cuda_backend({.attention_scores = scores});
      Workspace workspace(backend->allocator());
      SelfCommunicator communicator;
      ExecContext ctx{*backend, workspace, communicator, {}, nullptr, true};
      const auto on_device = [&](const TensorView& host) {
        Tensor there(backend->allocator(), host.dtype(), host.shape());
        backend->upload(host, there);
        return there;
      };
      const Tensor out(backend->allocator(), dtype, {60, 3, kWidth});
      attention(ctx, {on_device(q), on_device(k), on_device(v), 0.05f, on_device(bias), {}, out});
      const Tensor actual(dtype, out.shape());
      backend->download(out, actual);
      EXPECT_TRUE(all_close(actual, expected, dtype == DType::kF32 ? 2e-6 : 0.00390625)) << scores;
    }
  }
}

TEST_F(CudaBackend, WorksWithoutPoolsAndGivesEverythingBack) {
  fake_machine().has_pools = false;
  const std::size_t before = cuda_emulation::fake_used_bytes();
  {
    const auto backend = make_cuda_backend({});
    const Tensor there(backend->allocator(), DType::kF32, {4});
    EXPECT_GT(cuda_emulation::fake_used_bytes(), before);
  }
  EXPECT_EQ(cuda_emulation::fake_used_bytes(), before);
  EXPECT_EQ(cuda_emulation::damaged_guards(), 0);
}

}  // namespace
}  // namespace wan::test
