// Local communicators (ranks as threads), the group of one, and even_share.

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <thread>

#include "distributed/communicator_contract.h"
#include "parallel/local/local_communicator.h"
#include "parallel/partition.h"
#include "support/expect_error.h"

namespace wan {
namespace {

/// Runs body(communicator) on one thread a rank; what a rank throws is its entry in the result.
std::vector<ErrorCode> run_ranks(int size, const std::function<void(Communicator&)>& body) {
  auto communicators = make_local_communicators(size);
  std::vector<ErrorCode> codes(static_cast<std::size_t>(size), ErrorCode::kIo);
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < codes.size(); ++rank)
    threads.emplace_back([&, rank] {
      try {
        body(*communicators[rank]);
      } catch (const Error& error) {
        codes[rank] = error.code();
        communicators[rank]->abort(error);
      }
    });
  for (std::thread& thread : threads) thread.join();
  return codes;
}

constexpr ErrorCode kNothingThrown = ErrorCode::kIo;

void expect_success(const std::vector<ErrorCode>& codes) {
  for (const ErrorCode code : codes) EXPECT_EQ(code, kNothingThrown) << error_code_name(code);
}

class Parallel : public ::testing::TestWithParam<int> {};

TEST_P(Parallel, NoMoreExchangesArePendingThanThereIsRoomFor) {
  const auto codes = run_ranks(GetParam(), [](Communicator& c) {
    std::vector<test::BegunExchange> begun;
    for (std::int64_t exchange = 0; exchange < 40; ++exchange) begun.emplace_back(c, exchange);
  });
  for (const ErrorCode code : codes) EXPECT_EQ(code, ErrorCode::kInternal) << error_code_name(code);
}

TEST_P(Parallel, BarrierHoldsEveryoneBack) {
  std::atomic<int> arrived{0};
  expect_success(run_ranks(GetParam(), [&](Communicator& c) {
    for (int pass = 1; pass <= 50; ++pass) {
      ++arrived;
      c.barrier();
      ASSERT_EQ(arrived.load(), pass * c.size());
      c.barrier();
    }
  }));
}

TEST(LocalCommunicator, ARankThatDoesNotComeEndsTheOthers) {
  auto communicators = make_local_communicators(2, std::chrono::milliseconds(50));
  test::expect_error(ErrorCode::kDevice, "1 of 2 ranks did not come", [&] { communicators[0]->barrier(); });
  test::expect_error(ErrorCode::kDevice, "1 of 2 ranks did not come", [&] { communicators[1]->barrier(); });
}

TEST(LocalCommunicator, ARankThatRestsIsWaitedFor) {
  auto communicators = make_local_communicators(2, std::chrono::milliseconds(50));
  std::thread resting([&] {
    {
      const RankRest rest(*communicators[1]);
      std::this_thread::sleep_for(std::chrono::milliseconds(400));
    }
    communicators[1]->barrier();
  });
  EXPECT_NO_THROW(communicators[0]->barrier());
  resting.join();
}

TEST(LocalCommunicator, WhatEndedARankIsWhatTheOthersThrow) {
  auto communicators = make_local_communicators(2);
  EXPECT_NO_THROW(communicators[0]->check());
  communicators[1]->abort(Error(ErrorCode::kOutOfMemory, "the first cause"));
  communicators[1]->abort(Error(ErrorCode::kDevice, "a later one"));
  test::expect_error(ErrorCode::kOutOfMemory, "the first cause", [&] { communicators[0]->check(); });
  test::expect_error(ErrorCode::kOutOfMemory, "the first cause", [&] { communicators[0]->barrier(); });
}

TEST_P(Parallel, AbortWakesTheOthers) {
  if (GetParam() == 1) return;
  const auto codes = run_ranks(GetParam(), [](Communicator& c) {
    if (c.rank() == 0) fail(ErrorCode::kOutOfMemory, "this rank fails before it takes part");
    c.barrier();
  });
  EXPECT_EQ(codes[0], ErrorCode::kOutOfMemory);
  for (std::size_t rank = 1; rank < codes.size(); ++rank) EXPECT_EQ(codes[rank], ErrorCode::kOutOfMemory);
}

TEST_P(Parallel, ARankThatIsGoneEndsTheOthersWait) {
  if (GetParam() == 1) return;
  auto communicators = make_local_communicators(GetParam());
  std::thread waiting([&] { EXPECT_THROW(communicators[0]->barrier(), Error); });
  communicators.back().reset();
  waiting.join();
  EXPECT_THROW(communicators[0]->barrier(), Error);  // and stays that way
}

TEST_P(Parallel, MismatchedSizesThrowDeviceOnEveryRank) {
  if (GetParam() == 1) return;
  for (int repeat = 0; repeat < 20; ++repeat) {
    const auto codes = run_ranks(GetParam(), [](Communicator& c) {
      // Rank 0 expects 4 numbers of everyone, but gets 5 of rank 1; the others read big buffers meanwhile, which
      // die with the rank that owns them.
      const Tensor mine(DType::kF32, {c.rank() == 1 ? 5 : 4});
      std::fill_n(mine.as<float>(), mine.elements(), 1.0f);
      std::vector<Tensor> all;
      std::vector<TensorView> recv;
      for (int peer = 0; peer < c.size(); ++peer) {
        all.emplace_back(DType::kF32, Shape{peer == 1 && c.rank() != 0 ? 5 : 4});
        recv.push_back(all.back());
      }
      c.all_gather(mine, recv);
    });
    for (const ErrorCode code : codes) EXPECT_EQ(code, ErrorCode::kDevice) << error_code_name(code);
  }
}

/// At an address that no copy may touch.
TensorView device_view(int number) {
  const auto address = static_cast<std::uintptr_t>(4096 * (number + 1));
  return {reinterpret_cast<void*>(address), DType::kF32, {4}, {DeviceKind::kCuda, 1}};  // NOLINT: see above
}

TEST_P(Parallel, ViewsOfADevicesMemoryAreRefused) {
  const auto codes = run_ranks(GetParam(), [](Communicator& c) {
    const Tensor host(DType::kF32, {4});
    const std::vector<TensorView> recv(static_cast<std::size_t>(c.size()), device_view(c.rank()));
    test::expect_error(ErrorCode::kUnsupported, "cuda:1", [&] { c.all_gather(host, recv); });
  });
  expect_success(codes);
}

TEST_P(Parallel, ADevicesMemoryIsNotBroadcast) {
  if (GetParam() == 1) return;
  const auto codes = run_ranks(GetParam(), [](Communicator& c) { c.broadcast(device_view(c.rank()), 0); });
  for (const ErrorCode code : codes) EXPECT_EQ(code, ErrorCode::kUnsupported);
}

INSTANTIATE_TEST_SUITE_P(Ranks, Parallel, ::testing::Values(1, 2, 3, 4));

TEST(SelfCommunicator, CopiesToItself) {
  SelfCommunicator c;
  const Tensor from(DType::kF32, {3});
  const Tensor to(DType::kF32, {3});
  for (int i = 0; i < 3; ++i) from.as<float>()[i] = static_cast<float>(i + 1);
  const TensorView recv[] = {to.view()};
  c.all_gather(from, recv);
  EXPECT_EQ(to.as<float>()[2], 3.0f);
  from.as<float>()[2] = 7.0f;
  const TensorView send[] = {from.view()};
  c.all_to_all(send, recv);
  EXPECT_EQ(to.as<float>()[2], 7.0f);
  c.broadcast(to, 0);
  c.barrier();
  EXPECT_THROW(c.broadcast(to, 1), Error);
  const TensorView shorter[] = {to.view().slice(0, 0, 2)};
  EXPECT_THROW(c.all_gather(from, shorter), Error);
}

TEST(EvenShare, CoversEverythingOnceWithSizesThatDifferByOne) {
  for (const std::int64_t things : {0, 1, 3, 4, 5, 31899})
    for (const int ranks : {1, 2, 3, 4, 7}) {
      std::int64_t next = 0;
      std::int64_t previous = things;
      for (int rank = 0; rank < ranks; ++rank) {
        const Range share = even_share(things, ranks, rank);
        EXPECT_EQ(share.begin, next);
        EXPECT_LE(share.size(), previous) << "larger shares come first";
        EXPECT_GE(share.size(), things / ranks);
        EXPECT_LE(share.size(), things / ranks + 1);
        previous = share.size();
        next = share.end;
      }
      EXPECT_EQ(next, things);
    }
  EXPECT_EQ(even_share(31899, 4, 3), (Range{23925, 31899}));
  EXPECT_THROW(even_share(4, 2, 2), Error);
  EXPECT_THROW(even_share(-1, 2, 0), Error);
  EXPECT_THROW(even_share(4, 0, 0), Error);
}

test::ContractRanks threads(int size) {
  return {.name = std::to_string(size) + " threads", .run = [size](const test::RankBody& body) {
            std::vector<std::string> thrown(static_cast<std::size_t>(size));
            run_ranks(size, [&](Communicator& c) {
              try {
                body(c);
              } catch (const Error& error) {
                thrown[static_cast<std::size_t>(c.rank())] = error.what();
                throw;
              }
            });
            return thrown;
          }};
}

}  // namespace

namespace test {
INSTANTIATE_TEST_SUITE_P(Threads, CommunicatorContract,
                         testing::Values(threads(1), threads(2), threads(3), threads(4)));
}  // namespace test

}  // namespace wan
