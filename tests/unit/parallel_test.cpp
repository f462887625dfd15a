// Local communicators (ranks as threads), the group of one, and even_share.

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <thread>

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

/// The value that rank `from` sends to rank `to` at position i.
float value(int from, int to, std::int64_t i) {
  return static_cast<float>(1000 * from + 100 * to) + static_cast<float>(i);
}
/// Different for every pair of ranks, and nothing at all from 1 to 0.
std::int64_t count(int from, int to) {
  return from == 1 && to == 0 ? 0 : 1 + 3 * from + to;
}

class Parallel : public ::testing::TestWithParam<int> {};

TEST_P(Parallel, AllToAllMovesUnequalCounts) {
  expect_success(run_ranks(GetParam(), [](Communicator& c) {
    for (int pass = 0; pass < 20; ++pass) {  // often enough for the barriers to be used again
      std::vector<Tensor> out;
      std::vector<Tensor> in;
      std::vector<TensorView> send;
      std::vector<TensorView> recv;
      for (int peer = 0; peer < c.size(); ++peer) {
        out.emplace_back(DType::kF32, Shape{count(c.rank(), peer)});
        in.emplace_back(DType::kF32, Shape{count(peer, c.rank())});
        for (std::int64_t i = 0; i < out.back().elements(); ++i)
          out.back().as<float>()[i] = value(c.rank(), peer, i + pass);
        send.push_back(out.back());
        recv.push_back(in.back());
      }
      c.all_to_all(send, recv);
      for (int peer = 0; peer < c.size(); ++peer)
        for (std::int64_t i = 0; i < count(peer, c.rank()); ++i)
          ASSERT_EQ(in[static_cast<std::size_t>(peer)].as<float>()[i], value(peer, c.rank(), i + pass));
    }
  }));
}

TEST_P(Parallel, RowsOfLargerTensorsTravel) {
  constexpr std::int64_t kTokens = 5;
  constexpr std::int64_t kWidth = 3;
  expect_success(run_ranks(GetParam(), [](Communicator& c) {
    const std::int64_t heads = 2 * c.size() - 1;  // not divided evenly
    const Range mine = even_share(heads, c.size(), c.rank());
    const Tensor out(DType::kF32, {kTokens, heads, kWidth});
    for (std::int64_t i = 0; i < out.elements(); ++i) out.as<float>()[i] = value(c.rank(), 0, i);
    const Tensor in(DType::kF32, {c.size(), kTokens, mine.size(), kWidth});
    const Tensor back(DType::kF32, out.shape());
    std::vector<TensorView> send;
    std::vector<TensorView> recv;
    std::vector<TensorView> returned;
    for (int peer = 0; peer < c.size(); ++peer) {
      const Range theirs = even_share(heads, c.size(), peer);
      send.push_back(out.view().slice(1, theirs.begin, theirs.end));
      recv.push_back(in.view().select(0, peer));
      returned.push_back(back.view().slice(1, theirs.begin, theirs.end));
    }
    c.all_to_all(send, recv);
    for (int peer = 0; peer < c.size(); ++peer)
      for (std::int64_t token = 0; token < kTokens; ++token)
        for (std::int64_t i = 0; i < mine.size() * kWidth; ++i)
          ASSERT_EQ(recv[static_cast<std::size_t>(peer)].as<float>()[token * mine.size() * kWidth + i],
                    value(peer, 0, (token * heads + mine.begin) * kWidth + i));
    c.all_to_all(recv, returned);
    for (std::int64_t i = 0; i < out.elements(); ++i) ASSERT_EQ(back.as<float>()[i], out.as<float>()[i]);
  }));
}

/// What rank `from` sends to rank `to` in an exchange, some numbers of each.
Tensor numbers(int from, int to, std::int64_t exchange) {
  Tensor made(DType::kF32, {count(from, to)});
  for (std::int64_t i = 0; i < made.elements(); ++i) made.as<float>()[i] = value(from, to, i + exchange);
  return made;
}

/// One rank's part of an exchange that is begun.
struct Begun {
  Begun(Communicator& c, std::int64_t exchange) : number(exchange) {
    std::vector<TensorView> send;
    std::vector<TensorView> recv;
    for (int peer = 0; peer < c.size(); ++peer) {
      send.push_back(out.emplace_back(numbers(c.rank(), peer, exchange)));
      recv.push_back(in.emplace_back(DType::kF32, Shape{count(peer, c.rank())}));
    }
    pending = c.begin_all_to_all(send, recv);
  }
  void finish(const Communicator& c) {
    pending->finish();
    for (const Tensor& sent : out) std::fill_n(sent.as<float>(), sent.elements(), -1.0f);
    for (int peer = 0; peer < c.size(); ++peer) {
      const Tensor expected = numbers(peer, c.rank(), number);
      for (std::int64_t i = 0; i < expected.elements(); ++i)
        ASSERT_EQ(in[static_cast<std::size_t>(peer)].as<float>()[i], expected.as<float>()[i]);
    }
  }
  std::int64_t number;
  std::vector<Tensor> out;
  std::vector<Tensor> in;
  std::unique_ptr<PendingExchange> pending;
};

TEST_P(Parallel, ExchangesGoOnBesideOneAnotherAndOtherCalls) {
  constexpr std::int64_t kPending = 7;
  expect_success(run_ranks(GetParam(), [](Communicator& c) {
    std::vector<Begun> begun;
    for (std::int64_t exchange = 0; exchange < 60; ++exchange) {
      begun.emplace_back(c, exchange);
      if (exchange % 5 == 0) c.barrier();
      if (exchange % 3 != 0) continue;
      const Tensor word(DType::kF32, {1});
      *word.as<float>() = static_cast<float>(c.rank());
      c.broadcast(word, c.size() - 1);
      ASSERT_EQ(*word.as<float>(), static_cast<float>(c.size() - 1));
      while (static_cast<std::int64_t>(begun.size()) > kPending) {
        const auto some = begun.begin() + exchange % 2;  // not always the oldest
        some->finish(c);
        begun.erase(some);
      }
    }
    for (Begun& last : begun) last.finish(c);
  }));
}

TEST_P(Parallel, NoMoreExchangesArePendingThanThereIsRoomFor) {
  const auto codes = run_ranks(GetParam(), [](Communicator& c) {
    std::vector<Begun> begun;
    for (std::int64_t exchange = 0; exchange < 40; ++exchange) begun.emplace_back(c, exchange);
  });
  for (const ErrorCode code : codes) EXPECT_EQ(code, ErrorCode::kInternal) << error_code_name(code);
}

TEST_P(Parallel, AllGatherCollectsUnequalShares) {
  expect_success(run_ranks(GetParam(), [](Communicator& c) {
    const Tensor mine(DType::kF32, {2 + c.rank()});
    for (std::int64_t i = 0; i < mine.elements(); ++i) mine.as<float>()[i] = value(c.rank(), 0, i);
    std::vector<Tensor> all;
    std::vector<TensorView> recv;
    for (int peer = 0; peer < c.size(); ++peer) {
      all.emplace_back(DType::kF32, Shape{2 + peer});
      recv.push_back(all.back());
    }
    c.all_gather(mine, recv);
    for (int peer = 0; peer < c.size(); ++peer)
      for (std::int64_t i = 0; i < 2 + peer; ++i)
        ASSERT_EQ(all[static_cast<std::size_t>(peer)].as<float>()[i], value(peer, 0, i));
  }));
}

TEST_P(Parallel, BroadcastFromEveryRoot) {
  expect_success(run_ranks(GetParam(), [](Communicator& c) {
    for (int root = 0; root < c.size(); ++root) {
      const Tensor data(DType::kF32, {5});
      for (std::int64_t i = 0; i < 5; ++i) data.as<float>()[i] = value(c.rank(), root, i);
      c.broadcast(data, root);
      for (std::int64_t i = 0; i < 5; ++i) ASSERT_EQ(data.as<float>()[i], value(root, root, i));
    }
  }));
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

TEST_P(Parallel, RefusesTheWrongNumberOfViewsAndRoots) {
  const auto codes = run_ranks(GetParam(), [](Communicator& c) {
    const Tensor data(DType::kF32, {2});
    const std::vector<TensorView> too_many(static_cast<std::size_t>(c.size()) + 1, data.view());
    EXPECT_THROW(c.all_gather(data, too_many), Error);
    EXPECT_THROW(c.all_to_all(too_many, too_many), Error);
    EXPECT_THROW(c.broadcast(data, c.size()), Error);
    c.barrier();  // nobody was harmed
  });
  expect_success(codes);
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

TEST_P(Parallel, WhoeverComesFirstWaits) {
  constexpr std::chrono::milliseconds kLate{200};
  expect_success(run_ranks(GetParam(), [&](Communicator& c) {
    const Tensor mine(DType::kF32, {1});
    const Tensor all(DType::kF32, {c.size()});
    std::vector<TensorView> recv;
    for (int peer = 0; peer < c.size(); ++peer) recv.push_back(all.view().slice(0, peer, peer + 1));
    c.barrier();  // all threads have started
    const double before = c.waited_seconds();
    if (c.rank() == 0) std::this_thread::sleep_for(kLate);
    c.all_gather(mine, recv);
    const double waited = c.waited_seconds() - before;
    const double late = std::chrono::duration<double>(kLate).count();
    if (c.rank() == 0)
      EXPECT_LT(waited, late / 2);
    else
      EXPECT_GT(waited, late / 2);
  }));
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

}  // namespace
}  // namespace wan
