#pragma once
// ExecContext: all that an op or a layer needs to run, passed explicitly; there are no globals.

#include <atomic>
#include <cstdint>
#include <functional>
#include <string_view>

#include "ops/finite_check.h"
#include "ops/workspace.h"
#include "parallel/communicator.h"

namespace wan {

class Backend;

/// Called with a layer's name (PyTorch's module path: "blocks.3.self_attn") and output, while it is valid.
using Taps = std::function<void(std::string_view name, const TensorView& output)>;

struct ExecContext {
  Backend& backend;
  Workspace& workspace;
  Communicator& communicator;
  Taps taps = {};                                // empty: nobody listens
  const std::atomic<bool>* cancelled = nullptr;  // set by another thread to stop within a layer
  bool require_fused = false;     // an op that the backend does not support is an error, never a fallback
  FiniteCheck* check = nullptr;   // looks at every op's result
  std::int64_t* flops = nullptr;  // grows by each op's floating-point operations (ops/dispatch.h)
  const std::atomic<bool>* cancelled_together =
      nullptr;                             // rank 0's, of several that stop together or not at all
  const MachineRanks* machines = nullptr;  // where the communicator's ranks are on several
  DType unpacked = DType::kF32;            // what packed weights become before a product: f32 or bf16

  /// Tells the check which layer's ops come next; the name is that of the layer's tap.
  void enter(std::string_view layer) const {
    if (check != nullptr) check->enter(layer);
  }
  /// Shows a named layer output to whoever listens.
  void tap(std::string_view name, const TensorView& output) const {
    if (taps) taps(name, output);
  }
  /// Throws Cancelled when the caller asked to stop, and what ended another rank. Layers call it between kernels that take long.
  void check_cancelled() const;
  /// The same on all ranks of the communicator, which ask each other: at the same places, between parts of a pass that take long.
  void check_cancelled_together() const;
  /// Rank 0's answer, on every rank.
  bool agree(bool answer) const;
};

}  // namespace wan
