#include "ops/workspace.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"

namespace wan {
namespace {

/// Host memory that counts, and that can be made to run out.
class CountingAllocator final : public Allocator {
 public:
  Device device() const override { return {}; }
  std::byte* allocate(std::size_t bytes) override {
    if (held + bytes > limit) fail(ErrorCode::kOutOfMemory, "{} bytes are too many", bytes);
    held += bytes;
    ++calls;
    return cpu_allocator().allocate(bytes);
  }
  void release(std::byte* data, std::size_t bytes) noexcept override {
    held -= bytes;
    cpu_allocator().release(data, bytes);
  }

  std::size_t held = 0;
  std::size_t limit = std::size_t{1} << 40;
  int calls = 0;
};

constexpr std::int64_t kMegabyte = 1 << 20;

/// A pass that needs more than one chunk: nested scopes, some memory given back on the way.
void pass(Workspace& workspace) {
  const Workspace::Scope outer(workspace);
  const TensorView a = workspace.take(DType::kF32, {100, 3});
  std::memset(a.data(), 1, a.bytes());
  for (int layer = 0; layer < 3; ++layer) {
    const Workspace::Scope inner(workspace);
    const TensorView b = workspace.take(DType::kU8, {3 * kMegabyte});
    const TensorView c = workspace.take(DType::kF32, {kMegabyte});
    std::memset(b.data(), 2, b.bytes());
    std::memset(c.data(), 3, c.bytes());
  }
  for (std::size_t i = 0; i < a.bytes(); ++i) ASSERT_EQ(a.data()[i], std::byte{1});
}

TEST(Workspace, SecondIdenticalPassAllocatesNothing) {
  CountingAllocator allocator;
  Workspace workspace(allocator);
  pass(workspace);  // grows chunk by chunk; its end joins them into one
  const int after_first = workspace.allocations();
  const std::size_t capacity = workspace.capacity();
  EXPECT_GT(after_first, 1);
  EXPECT_EQ(allocator.held, capacity);
  for (int i = 0; i < 3; ++i) pass(workspace);
  EXPECT_EQ(workspace.allocations(), after_first);
  EXPECT_EQ(allocator.calls, after_first);
  EXPECT_EQ(workspace.capacity(), capacity);
}

TEST(Workspace, MergedChunkIsContiguous) {
  CountingAllocator allocator;
  Workspace workspace(allocator);
  pass(workspace);
  const int before = workspace.allocations();
  const Workspace::Scope scope(workspace);
  workspace.take(DType::kU8, {static_cast<std::int64_t>(workspace.capacity())});
  EXPECT_EQ(workspace.allocations(), before);
}

TEST(Workspace, KeepsWhatWasInUseAtMost) {
  CountingAllocator allocator;
  Workspace workspace(allocator);
  const auto pass = [&] {
    const Workspace::Scope scope(workspace);
    for (const std::int64_t size : {2, 3}) {
      const Workspace::Scope inner(workspace);
      workspace.take(DType::kU8, {size * kMegabyte});
    }
  };
  pass();
  EXPECT_EQ(workspace.capacity(), static_cast<std::size_t>(3 * kMegabyte)) << "not 2 + 3";
  const int before = workspace.allocations();
  pass();
  EXPECT_EQ(workspace.allocations(), before);
}

TEST(Workspace, WhatIsTakenBeyondAReserveIsKeptToo) {
  CountingAllocator allocator;
  Workspace workspace(allocator);
  const auto pass = [&] {
    workspace.reserve(static_cast<std::size_t>(4 * kMegabyte));
    const Workspace::Scope scope(workspace);
    workspace.take(DType::kU8, {2 * kMegabyte});
    workspace.take(DType::kU8, {3 * kMegabyte});
  };
  pass();
  EXPECT_EQ(workspace.capacity(), static_cast<std::size_t>(5 * kMegabyte));
  const int before = workspace.allocations();
  pass();
  EXPECT_EQ(workspace.allocations(), before);
}

TEST(Workspace, GivesAlignedSeparatePieces) {
  Workspace workspace(cpu_allocator());
  const Workspace::Scope scope(workspace);
  std::byte* end = nullptr;
  for (const std::int64_t n : {1, 63, 64, 65, 1000}) {
    const TensorView view = workspace.take(DType::kU8, {n});
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(view.data()) % 64, 0u);
    EXPECT_GE(view.data(), end);
    end = view.data() + n;
    EXPECT_TRUE(view.is_contiguous());
  }
}

TEST(Workspace, ScopesGiveMemoryBackInStackOrder) {
  Workspace workspace(cpu_allocator());
  const Workspace::Scope outer(workspace);
  workspace.take(DType::kF32, {10});
  std::byte* first = nullptr;
  for (int i = 0; i < 2; ++i) {
    const Workspace::Scope inner(workspace);
    std::byte* data = workspace.take(DType::kF32, {10}).data();
    if (first == nullptr) first = data;
    EXPECT_EQ(data, first);
  }
}

TEST(Workspace, TakingOutsideAScopeIsAnError) {
  Workspace workspace(cpu_allocator());
  EXPECT_THROW(workspace.take(DType::kF32, {1}), Error);
}

TEST(Workspace, RunningOutIsReportedAndLeavesItUsable) {
  CountingAllocator allocator;
  allocator.limit = 8 * kMegabyte;
  Workspace workspace(allocator);
  try {
    const Workspace::Scope scope(workspace);
    workspace.take(DType::kU8, {5 * kMegabyte});
    workspace.take(DType::kU8, {5 * kMegabyte});
    ADD_FAILURE() << "10 MB of 8 were given";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutOfMemory);
  }
  const Workspace::Scope scope(workspace);
  EXPECT_NO_THROW(workspace.take(DType::kU8, {5 * kMegabyte}));
}

TEST(Workspace, OverflowingSizesAreRefused) {
  Workspace workspace(cpu_allocator());
  const Workspace::Scope scope(workspace);
  EXPECT_THROW(workspace.take(DType::kF64, {std::int64_t{1} << 61}), Error);
}

TEST(Workspace, ReleaseGivesEverythingBack) {
  CountingAllocator allocator;
  Workspace workspace(allocator);
  pass(workspace);
  workspace.release();
  EXPECT_EQ(allocator.held, 0u);
  EXPECT_EQ(workspace.capacity(), 0u);
  pass(workspace);
  const Workspace::Scope scope(workspace);
  EXPECT_THROW(workspace.release(), Error);
}

}  // namespace
}  // namespace wan
