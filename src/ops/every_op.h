#pragma once
// For those who implement Ops: saying once what is done with any op, and a function an op in the file of the op's name.

#include "ops/ops.h"

namespace wan {

/// Base with supports() and run() of every op overridden by what Derived says once, in two public templates:
///   template <typename Args> bool supports_op(const Args& args) const;
///   template <typename Args> void run_op(ExecContext& ctx, const Args& args);
/// An overload for one op's arguments is taken before the template. Of the ops that take scratch, and of no other, Derived has too:
///   void take_scratch_op(Workspace& workspace, const Args& args);
template <typename Derived, typename Base, typename List = AllOps>
class OverEveryOp;

/// What `derived` takes for an op of those that it takes scratch for.
template <typename Derived, typename Args>
void take_scratch_by(Derived& derived, Workspace& workspace, const Args& args) {
  if constexpr (requires { derived.take_scratch_op(workspace, args); })
    derived.take_scratch_op(workspace, args);
}

template <typename Derived, typename Base>
class OverEveryOp<Derived, Base, TypeList<>> : public Base {
 public:
  using Base::Base;
};

template <typename Derived, typename Base, typename First, typename... Rest>
class OverEveryOp<Derived, Base, TypeList<First, Rest...>>
    : public OverEveryOp<Derived, Base, TypeList<Rest...>> {
  using Others = OverEveryOp<Derived, Base, TypeList<Rest...>>;

 public:
  using Others::Others;
  using Others::run;
  using Others::supports;
  using Others::take_scratch;
  bool supports(const First& args) const override {
    return static_cast<const Derived&>(*this).supports_op(args);
  }
  void run(ExecContext& ctx, const First& args) override { static_cast<Derived&>(*this).run_op(ctx, args); }
  void take_scratch(Workspace& workspace, const First& args) override {
    take_scratch_by(static_cast<Derived&>(*this), workspace, args);
  }
};

/// Six at a time, as OpInterface.
template <typename Derived, typename Base, typename A, typename B, typename C, typename D, typename E,
          typename F, typename... Rest>
class OverEveryOp<Derived, Base, TypeList<A, B, C, D, E, F, Rest...>>
    : public OverEveryOp<Derived, Base, TypeList<Rest...>> {
  using Others = OverEveryOp<Derived, Base, TypeList<Rest...>>;

 public:
  using Others::Others;
  using Others::run;
  using Others::supports;
  using Others::take_scratch;
  bool supports(const A& args) const override { return derived().supports_op(args); }
  bool supports(const B& args) const override { return derived().supports_op(args); }
  bool supports(const C& args) const override { return derived().supports_op(args); }
  bool supports(const D& args) const override { return derived().supports_op(args); }
  bool supports(const E& args) const override { return derived().supports_op(args); }
  bool supports(const F& args) const override { return derived().supports_op(args); }
  void run(ExecContext& ctx, const A& args) override { derived().run_op(ctx, args); }
  void run(ExecContext& ctx, const B& args) override { derived().run_op(ctx, args); }
  void run(ExecContext& ctx, const C& args) override { derived().run_op(ctx, args); }
  void run(ExecContext& ctx, const D& args) override { derived().run_op(ctx, args); }
  void run(ExecContext& ctx, const E& args) override { derived().run_op(ctx, args); }
  void run(ExecContext& ctx, const F& args) override { derived().run_op(ctx, args); }
  void take_scratch(Workspace& workspace, const A& args) override {
    take_scratch_by(derived(), workspace, args);
  }
  void take_scratch(Workspace& workspace, const B& args) override {
    take_scratch_by(derived(), workspace, args);
  }
  void take_scratch(Workspace& workspace, const C& args) override {
    take_scratch_by(derived(), workspace, args);
  }
  void take_scratch(Workspace& workspace, const D& args) override {
    take_scratch_by(derived(), workspace, args);
  }
  void take_scratch(Workspace& workspace, const E& args) override {
    take_scratch_by(derived(), workspace, args);
  }
  void take_scratch(Workspace& workspace, const F& args) override {
    take_scratch_by(derived(), workspace, args);
  }

 private:
  Derived& derived() { return static_cast<Derived&>(*this); }
  const Derived& derived() const { return static_cast<const Derived&>(*this); }
};

// The functions below are no templates, on purpose.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wnon-template-friend"
#endif

/// Declares two functions for an op, which the file of the op's name defines:
///   bool has_kernel(const Derived&, const Args&);
///   void run_kernel(Derived&, ExecContext&, const Args&);
/// They are found by their first argument, in calls from a Derived that has this as a base. One that is called and not defined is
/// an error of the linker.
template <typename Derived, typename Args>
class KernelFunctions {
  friend bool has_kernel(const Derived& backend, const Args& args);
  friend void run_kernel(Derived& backend, ExecContext& ctx, const Args& args);
};

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

/// The same for every op.
template <typename Derived, typename List = AllOps>
class KernelsOfEveryOp;

template <typename Derived, typename... Args>
class KernelsOfEveryOp<Derived, TypeList<Args...>> : KernelFunctions<Derived, Args>... {};

}  // namespace wan
