// Plans of the CUDA libraries: kept for the next time, and never more than a number of them.

#include "backends/cuda/plan_cache.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace wan::cuda {
namespace {

TEST(PlanCache, DropsWhatWasNotUsedForLongest) {
  PlanCache<int, std::string> cache(3);
  for (const int key : {1, 2, 3}) cache.add(key, std::to_string(key));
  EXPECT_TRUE(cache.full());
  EXPECT_EQ(*cache.find(1), "1");
  cache.add(4, "4");
  EXPECT_EQ(cache.size(), 3u);
  EXPECT_EQ(cache.find(2), nullptr);
  ASSERT_NE(cache.find(1), nullptr);
  ASSERT_NE(cache.find(3), nullptr);
  EXPECT_EQ(*cache.find(4), "4");
  cache.add(3, "three");  // takes the former one's place alone
  EXPECT_EQ(cache.size(), 3u);
  EXPECT_EQ(*cache.find(3), "three");
}

TEST(PlanCache, ManyProblemsTakeNoMoreThanItsCapacity) {
  PlanCache<int, std::unique_ptr<int>> cache;
  for (int key = 0; key < 3000; ++key) cache.add(key, std::make_unique<int>(key));
  EXPECT_EQ(cache.size(), cache.kCapacity);
  EXPECT_EQ(**cache.find(2999), 2999);
  EXPECT_EQ(cache.find(0), nullptr);
}

}  // namespace
}  // namespace wan::cuda
