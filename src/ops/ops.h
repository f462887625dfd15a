#pragma once
// Ops: one pair of functions an op, whether a kernel takes these arguments, and the kernel. Ops are called through the functions
// of ops/*.h, which validate first.

#include "ops/op_list.h"

namespace wan {

template <typename List>
class OpInterface;

template <typename Last>
class OpInterface<TypeList<Last>> {
 public:
  virtual ~OpInterface() = default;
  virtual bool supports(const Last& args) const = 0;
  virtual void run(ExecContext& ctx, const Last& args) = 0;
};

template <typename First, typename... Rest>
class OpInterface<TypeList<First, Rest...>> : public OpInterface<TypeList<Rest...>> {
 public:
  using OpInterface<TypeList<Rest...>>::supports;
  using OpInterface<TypeList<Rest...>>::run;
  virtual bool supports(const First& args) const = 0;
  virtual void run(ExecContext& ctx, const First& args) = 0;
};

using Ops = OpInterface<AllOps>;

}  // namespace wan
