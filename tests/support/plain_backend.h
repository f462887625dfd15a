#pragma once
// PlainBackend: host memory and no kernel of its own, so that every op runs its plain composite.

#include <cstring>

#include "base/error.h"
#include "ops/backend.h"

namespace wan::test {

/// Overrides supports() and run() of Base for each of Args: nothing is supported.
template <typename Base, typename... Args>
class Refusing : public Base {};

template <typename Base, typename First, typename... Rest>
class Refusing<Base, First, Rest...> : public Refusing<Base, Rest...> {
 public:
  using Refusing<Base, Rest...>::supports;
  using Refusing<Base, Rest...>::run;
  bool supports(const First&) const override { return false; }
  void run(ExecContext&, const First&) override { WAN_ASSERT(false && "the backend supports no op"); }
};

using RefusingBackend =
    Refusing<Backend, ActivationArgs, AttentionArgs, AverageDownArgs, ChannelNormArgs, Conv3dArgs, CopyArgs,
             CountNonFiniteArgs, DuplicateUpArgs, EmbeddingArgs, FillZeroArgs, GatedGeluArgs,
             GatedResidualArgs, LayerNormArgs, LinearArgs, LinearCombinationArgs, PatchifyArgs,
             UnpatchifyArgs, RmsNormArgs, RmsNormRopeArgs, UpsampleArgs>;

class PlainBackend : public RefusingBackend {
 public:
  const char* name() const override { return "plain"; }
  Device device() const override { return {}; }
  Allocator& allocator() override { return cpu_allocator(); }
  void synchronize() override {}
  void upload(const TensorView& host, const TensorView& device) override { copy_bytes(host, device); }
  void download(const TensorView& device, const TensorView& host) override { copy_bytes(device, host); }

 private:
  static void copy_bytes(const TensorView& from, const TensorView& to) {
    WAN_ASSERT(from.is_contiguous() && to.is_contiguous() && from.dtype() == to.dtype() &&
               from.elements() == to.elements());
    if (from.bytes() > 0) std::memcpy(to.data(), from.data(), from.bytes());
  }
};

}  // namespace wan::test
