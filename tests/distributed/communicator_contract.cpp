// Every kind of communicator: what arrives, what is refused, who waits, and that a failure ends all.

#include "distributed/communicator_contract.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "parallel/partition.h"

namespace wan::test {

BegunExchange::BegunExchange(Communicator& c, std::int64_t number, Allocator& memory) : number_(number) {
  std::vector<TensorView> send;
  std::vector<TensorView> recv;
  for (int peer = 0; peer < c.size(); ++peer) {
    const Tensor& mine = out_.emplace_back(memory, DType::kF32, Shape{exchanged_count(c.rank(), peer)});
    for (std::int64_t i = 0; i < mine.elements(); ++i)
      mine.as<float>()[i] = exchanged_value(c.rank(), peer, i + number);
    send.push_back(mine);
    recv.push_back(in_.emplace_back(memory, DType::kF32, Shape{exchanged_count(peer, c.rank())}));
  }
  pending_ = c.begin_all_to_all(send, recv);
}

void BegunExchange::finish(const Communicator& c) {
  pending_->finish();
  for (const Tensor& sent : out_) std::fill_n(sent.as<float>(), sent.elements(), -1.0f);
  for (int peer = 0; peer < c.size(); ++peer) {
    const Tensor& theirs = in_[static_cast<std::size_t>(peer)];
    for (std::int64_t i = 0; i < theirs.elements(); ++i)
      ASSERT_EQ(theirs.as<float>()[i], exchanged_value(peer, c.rank(), i + number_));
  }
}

namespace {

TEST_P(CommunicatorContract, AllToAllMovesUnequalCounts) {
  expect_success([](Communicator& c) {
    for (int pass = 0; pass < 50; ++pass) {  // often enough for what a communicator keeps to be used again
      std::vector<Tensor> out;
      std::vector<Tensor> in;
      std::vector<TensorView> send;
      std::vector<TensorView> recv;
      for (int peer = 0; peer < c.size(); ++peer) {
        out.push_back(tensor_of(c, {exchanged_count(c.rank(), peer)}));
        in.push_back(tensor_of(c, {exchanged_count(peer, c.rank())}));
        for (std::int64_t i = 0; i < out.back().elements(); ++i)
          out.back().as<float>()[i] = exchanged_value(c.rank(), peer, i + pass);
        send.push_back(out.back());
        recv.push_back(in.back());
      }
      c.all_to_all(send, recv);
      for (int peer = 0; peer < c.size(); ++peer)
        for (std::int64_t i = 0; i < exchanged_count(peer, c.rank()); ++i)
          ASSERT_EQ(in[static_cast<std::size_t>(peer)].as<float>()[i],
                    exchanged_value(peer, c.rank(), i + pass));
    }
  });
}

/// Heads of [tokens, heads, width], as Ulysses sends them: there and back.
void exchange_heads(Communicator& c, Allocator& memory, std::int64_t tokens, std::int64_t width) {
  const std::int64_t heads = 2 * c.size() - 1;  // not divided evenly
  const Range mine = even_share(heads, c.size(), c.rank());
  const Tensor out(memory, DType::kF32, {tokens, heads, width});
  for (std::int64_t i = 0; i < out.elements(); ++i)
    out.as<float>()[i] = exchanged_value(c.rank(), 0, i % 9973);
  const Tensor in(memory, DType::kF32, {c.size(), tokens, mine.size(), width});
  const Tensor back(memory, DType::kF32, out.shape());
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
    for (std::int64_t token = 0; token < tokens; ++token)
      for (std::int64_t i = 0; i < mine.size() * width; ++i)
        ASSERT_EQ(recv[static_cast<std::size_t>(peer)].as<float>()[token * mine.size() * width + i],
                  exchanged_value(peer, 0, ((token * heads + mine.begin) * width + i) % 9973));
  c.all_to_all(recv, returned);
  for (std::int64_t i = 0; i < out.elements(); ++i) ASSERT_EQ(back.as<float>()[i], out.as<float>()[i]);
}

TEST_P(CommunicatorContract, RowsOfLargerTensorsTravel) {
  expect_success([](Communicator& c) {
    Allocator& memory = GetParam().allocator(c.rank());
    exchange_heads(c, memory, 5, 3);
    exchange_heads(c, memory, 700, 301);  // some megabytes: larger than what MPI sends at once
  });
}

TEST_P(CommunicatorContract, ExchangesGoOnBesideOneAnotherAndOtherCalls) {
  constexpr std::int64_t kPending = 7;
  expect_success([](Communicator& c) {
    std::vector<BegunExchange> begun;
    for (std::int64_t exchange = 0; exchange < 60; ++exchange) {
      begun.emplace_back(c, exchange, GetParam().allocator(c.rank()));
      if (exchange % 5 == 0) c.barrier();
      if (exchange % 3 != 0) continue;
      const Tensor word = tensor_of(c, {1});
      *word.as<float>() = static_cast<float>(c.rank());
      c.broadcast(word, c.size() - 1);
      ASSERT_EQ(*word.as<float>(), static_cast<float>(c.size() - 1));
      while (static_cast<std::int64_t>(begun.size()) > kPending) {
        const auto some = begun.begin() + exchange % 2;  // not always the oldest
        some->finish(c);
        begun.erase(some);
      }
    }
    for (BegunExchange& last : begun) last.finish(c);
  });
}

TEST_P(CommunicatorContract, AllGatherCollectsUnequalShares) {
  expect_success([](Communicator& c) {
    const Tensor mine = tensor_of(c, {2 + c.rank()});
    for (std::int64_t i = 0; i < mine.elements(); ++i) mine.as<float>()[i] = exchanged_value(c.rank(), 0, i);
    std::vector<Tensor> all;
    std::vector<TensorView> recv;
    for (int peer = 0; peer < c.size(); ++peer) {
      all.push_back(tensor_of(c, {2 + peer}));
      recv.push_back(all.back());
    }
    c.all_gather(mine, recv);
    for (int peer = 0; peer < c.size(); ++peer)
      for (std::int64_t i = 0; i < 2 + peer; ++i)
        ASSERT_EQ(all[static_cast<std::size_t>(peer)].as<float>()[i], exchanged_value(peer, 0, i));
  });
}

TEST_P(CommunicatorContract, BroadcastFromEveryRoot) {
  expect_success([](Communicator& c) {
    for (int root = 0; root < c.size(); ++root) {
      const Tensor data = tensor_of(c, {5});
      for (std::int64_t i = 0; i < 5; ++i) data.as<float>()[i] = exchanged_value(c.rank(), root, i);
      c.broadcast(data, root);
      for (std::int64_t i = 0; i < 5; ++i) ASSERT_EQ(data.as<float>()[i], exchanged_value(root, root, i));
    }
    c.barrier();
  });
}

TEST_P(CommunicatorContract, RefusesTheWrongNumberOfViewsAndRoots) {
  expect_success([](Communicator& c) {
    const Tensor data = tensor_of(c, {2});
    const std::vector<TensorView> too_many(static_cast<std::size_t>(c.size()) + 1, data.view());
    EXPECT_THROW(c.all_gather(data, too_many), Error);
    EXPECT_THROW(c.all_to_all(too_many, too_many), Error);
    EXPECT_THROW(c.broadcast(data, c.size()), Error);
    c.barrier();  // nobody was harmed
  });
}

TEST_P(CommunicatorContract, WhoeverComesFirstWaits) {
  constexpr std::chrono::milliseconds kLate{400};
  expect_success([&](Communicator& c) {
    const Tensor mine = tensor_of(c, {1});
    const Tensor all = tensor_of(c, {c.size()});
    std::vector<TensorView> recv;
    for (int peer = 0; peer < c.size(); ++peer) recv.push_back(all.view().slice(0, peer, peer + 1));
    c.barrier();  // all threads have started
    const double before = c.waited_seconds();
    if (c.rank() == 0) std::this_thread::sleep_for(kLate);
    c.all_gather(mine, recv);
    if (mine.view().device().kind != DeviceKind::kCpu) return;  // the device waits, not the thread
    const double waited = c.waited_seconds() - before;
    const double late = std::chrono::duration<double>(kLate).count();
    if (c.rank() == 0)
      EXPECT_LT(waited, late / 2);
    else
      EXPECT_GT(waited, late / 2);
  });
}

TEST_P(CommunicatorContract, ARankThatFailsEndsTheOthersWithItsOwnWords) {
  const auto outcomes = GetParam().run([](Communicator& c) {
    if (c.rank() == 0) fail(ErrorCode::kOutOfMemory, "this rank fails before it takes part");
    c.barrier();
  });
  for (const std::string& thrown : outcomes)
    EXPECT_NE(thrown.find("this rank fails before it takes part"), std::string::npos) << thrown;
}

TEST_P(CommunicatorContract, AFailureDoesNotReachTheNextGroup) {
  GetParam().run([](Communicator& c) {
    if (c.rank() == 0) fail(ErrorCode::kInternal, "on purpose");
    c.barrier();
  });
  expect_success([](Communicator& c) {
    for (int pass = 0; pass < 20; ++pass) c.barrier();
  });
}

}  // namespace
}  // namespace wan::test
