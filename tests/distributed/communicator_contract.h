#pragma once
// What every kind of communicator is held to (communicator_contract.cpp), and how a test program says what its ranks are.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace wan::test {

/// What a rank does in a test.
using RankBody = std::function<void(Communicator&)>;

/// A group of ranks, some or all of which are threads of this process.
struct ContractRanks {
  std::string name;
  /// The body on a thread for each rank of this process; what each threw, empty for nothing. A rank that throws ends the others.
  std::function<std::vector<std::string>(const RankBody&)> run;
  /// What a rank exchanges is in this memory, which the host can touch.
  std::function<Allocator&(int rank)> allocator = [](int) -> Allocator& { return cpu_allocator(); };
};

inline std::ostream& operator<<(std::ostream& stream, const ContractRanks& ranks) {
  return stream << ranks.name;
}

/// Instantiated by each program for its kinds of ranks. In several processes each runs all tests, in one order.
class CommunicatorContract : public testing::TestWithParam<ContractRanks> {
 protected:
  void expect_success(const RankBody& body) const {
    for (const std::string& thrown : GetParam().run(body)) EXPECT_EQ(thrown, "");
  }
  /// In the rank's memory, f32.
  static Tensor tensor_of(const Communicator& c, const Shape& shape) {
    return {GetParam().allocator(c.rank()), DType::kF32, shape};
  }
};

/// The number that rank `from` sends to rank `to` at position i.
inline float exchanged_value(int from, int to, std::int64_t i) {
  return static_cast<float>(1000 * from + 100 * to) + static_cast<float>(i);
}
/// How many: different for every pair of ranks, and nothing at all from 1 to 0.
inline std::int64_t exchanged_count(int from, int to) {
  return from == 1 && to == 0 ? 0 : 1 + 3 * from + to;
}

/// One rank's part of an exchange of such numbers that is begun; exchanges of another number have others.
class BegunExchange {
 public:
  BegunExchange(Communicator& c, std::int64_t number, Allocator& memory = cpu_allocator());
  /// Compares what has come.
  void finish(const Communicator& c);

 private:
  std::int64_t number_;
  std::vector<Tensor> out_;
  std::vector<Tensor> in_;
  std::unique_ptr<PendingExchange> pending_;
};

}  // namespace wan::test
