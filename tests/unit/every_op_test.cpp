// What is made from the list of ops: the interface, what wraps it, and what dispatch asks of any op's arguments.

#include "ops/every_op.h"

#include <gtest/gtest.h>

#include <string>
#include <type_traits>
#include <vector>

#include "backends/cpu/cpu_backend.h"
#include "ops/dispatch.h"
#include "support/expect_error.h"
#include "support/plain_backend.h"

namespace wan::test {
namespace {

/// visit.operator()<Args>() for every op.
template <typename Visit, typename... Args>
void for_every_op(TypeList<Args...>, Visit&& visit) {
  (visit.template operator()<Args>(), ...);
}

/// Writes down what is done, and does none of it.
class Recorder final : public OverEveryOp<Recorder, Backend> {
 public:
  const char* name() const override { return "recorder"; }
  Device device() const override { return {}; }
  Allocator& allocator() override { return cpu_allocator(); }
  void synchronize() override {}
  void upload(const TensorView&, const TensorView&) override {}
  void download(const TensorView&, const TensorView&) override {}

  template <typename Args>
  bool supports_op(const Args&) const {
    return !std::is_same_v<Args, CopyArgs>;
  }
  template <typename Args>
  void run_op(ExecContext&, const Args& args) {
    ran.push_back(&args);
  }
  void run_op(ExecContext&, const UpsampleArgs&) { ++upsampled; }
  void take_scratch_op(Workspace& workspace, const LinearArgs&) { workspace.take(DType::kU8, {640}); }

  std::vector<const void*> ran;
  int upsampled = 0;
};

TEST(EveryOp, ReachesWhatWasSaidOnce) {
  Recorder recorder;
  Backend& backend = recorder;
  Workspace workspace(cpu_allocator());
  SelfCommunicator communicator;
  ExecContext ctx{backend, workspace, communicator};
  std::size_t ops = 0;
  for_every_op(AllOps(), [&]<typename Args>() {
    const Args args{};
    EXPECT_EQ(backend.supports(args), (!std::is_same_v<Args, CopyArgs>));
    backend.run(ctx, args);
    if (std::is_same_v<Args, UpsampleArgs>) return;  // has an overload of its own
    ++ops;
    ASSERT_EQ(recorder.ran.size(), ops);
    EXPECT_EQ(recorder.ran.back(), &args);
  });
  EXPECT_EQ(recorder.upsampled, 1);
  EXPECT_GT(ops, 0u);
}

TEST(EveryOp, TakesTheScratchThatItSaysAndNoOtherOpAny) {
  Recorder recorder;
  Backend& backend = recorder;
  for_every_op(AllOps(), [&]<typename Args>() {
    Workspace workspace(cpu_allocator());
    const Workspace::Scope scope(workspace);
    backend.take_scratch(workspace, Args{});
    EXPECT_EQ(workspace.most(), (std::is_same_v<Args, LinearArgs> ? 640u : 0u));
  });
}

TEST(EveryOp, IsRefusedAViewOfAnotherDeviceWhicheverItIs) {
  float value = 0.0f;
  const Device elsewhere{DeviceKind::kCuda, 1};
  const TensorView there(&value, DType::kF32, {1}, elsewhere);
  for_every_op(AllOps(), [&]<typename Args>() {
    int views = 0;
    Args args{};
    if constexpr (std::is_same_v<Args, LinearCombinationArgs>) args.terms.resize(2);
    Args::visit_views(args, [&](const TensorView&) { ++views; });
    EXPECT_GT(views, 0);
    EXPECT_NO_THROW(check_device("op", args, Device{})) << "views that are missing are nowhere";
    for (int wrong = 0; wrong < views; ++wrong) {
      Args moved = args;
      int view = 0;
      Args::visit_views(moved, [&](TensorView& v) {
        if (view++ == wrong) v = there;
      });
      expect_error(ErrorCode::kInternal, "[op] expected views on cpu, got one on cuda:1",
                   [&] { check_device("op", moved, Device{}); });
      EXPECT_NO_THROW(check_device("op", moved, elsewhere));
    }
  });
}

TEST(EveryOp, LooksAtDevicesBeforeItRuns) {
  float value = 0.0f;
  const TensorView here(&value, DType::kF32, {1});
  const TensorView there(&value, DType::kF32, {1}, {DeviceKind::kCuda, 0});
  Recorder recorder;
  PlainBackend plain;
  const auto cpu = make_cpu_backend({.threads = 1});
  for (Backend* backend : {static_cast<Backend*>(&recorder), static_cast<Backend*>(&plain), cpu.get()}) {
    Workspace workspace(cpu_allocator());
    SelfCommunicator communicator;
    ExecContext ctx{*backend, workspace, communicator};
    const std::string refusal = "[activation] expected views on cpu, got one on cuda:0";
    expect_error(ErrorCode::kInternal, refusal,
                 [&] { activation(ctx, {.x = there, .kind = ActivationKind::kSiLU, .out = here}); });
    expect_error(ErrorCode::kInternal, refusal,
                 [&] { activation(ctx, {.x = here, .kind = ActivationKind::kSiLU, .out = there}); });
  }
  EXPECT_TRUE(recorder.ran.empty());
}

}  // namespace
}  // namespace wan::test
