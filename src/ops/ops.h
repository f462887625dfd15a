#pragma once
// Ops: three functions an op: whether a kernel takes these arguments, the kernel, and its scratch. Ops are called through the
// functions of ops/*.h, which validate first.

#include "ops/op_list.h"

namespace wan {

class Workspace;

/// For each op:
///   supports()      whether there is a kernel for these arguments
///   run()           the kernel
///   take_scratch()  takes from the workspace what run() takes of it for these arguments, which may name no memory, and leaves it
///                   alone: an op's scratch as a memory plan sees it. Nothing, where that is nothing or a few rows.
template <typename List>
class OpInterface;

template <typename Last>
class OpInterface<TypeList<Last>> {
 public:
  virtual ~OpInterface() = default;
  virtual bool supports(const Last& args) const = 0;
  virtual void run(ExecContext& ctx, const Last& args) = 0;
  virtual void take_scratch(Workspace&, const Last&) {}
};

template <typename First, typename... Rest>
class OpInterface<TypeList<First, Rest...>> : public OpInterface<TypeList<Rest...>> {
 public:
  using OpInterface<TypeList<Rest...>>::supports;
  using OpInterface<TypeList<Rest...>>::run;
  using OpInterface<TypeList<Rest...>>::take_scratch;
  virtual bool supports(const First& args) const = 0;
  virtual void run(ExecContext& ctx, const First& args) = 0;
  virtual void take_scratch(Workspace&, const First&) {}
};

/// Six at a time: every class of the chain has a table of all functions below it, and with an op a class those tables and what fills them
/// are three tenths of what the engine's tests take to compile.
template <typename A, typename B, typename C, typename D, typename E, typename F, typename... Rest>
requires(sizeof...(Rest) > 0) class OpInterface<TypeList<A, B, C, D, E, F, Rest...>>
    : public OpInterface<TypeList<Rest...>> {
 public:
  using OpInterface<TypeList<Rest...>>::supports;
  using OpInterface<TypeList<Rest...>>::run;
  using OpInterface<TypeList<Rest...>>::take_scratch;
  virtual bool supports(const A& args) const = 0;
  virtual bool supports(const B& args) const = 0;
  virtual bool supports(const C& args) const = 0;
  virtual bool supports(const D& args) const = 0;
  virtual bool supports(const E& args) const = 0;
  virtual bool supports(const F& args) const = 0;
  virtual void run(ExecContext& ctx, const A& args) = 0;
  virtual void run(ExecContext& ctx, const B& args) = 0;
  virtual void run(ExecContext& ctx, const C& args) = 0;
  virtual void run(ExecContext& ctx, const D& args) = 0;
  virtual void run(ExecContext& ctx, const E& args) = 0;
  virtual void run(ExecContext& ctx, const F& args) = 0;
  virtual void take_scratch(Workspace&, const A&) {}
  virtual void take_scratch(Workspace&, const B&) {}
  virtual void take_scratch(Workspace&, const C&) {}
  virtual void take_scratch(Workspace&, const D&) {}
  virtual void take_scratch(Workspace&, const E&) {}
  virtual void take_scratch(Workspace&, const F&) {}
};

using Ops = OpInterface<AllOps>;

}  // namespace wan
