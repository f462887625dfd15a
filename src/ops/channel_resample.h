#pragma once
// Changing the resolution of a video without weights, space and time for channels: the shortcuts of VAE 2.2.

#include "ops/exec_context.h"

namespace wan {

/// How many frames, rows and columns of the finer video one of the coarser stands for.
struct ResampleFactors {
  int time = 1;
  int space = 1;

  /// Values of a channel in such a cell.
  std::int64_t cell() const { return std::int64_t{time} * space * space; }
};

/// A cell's values in the order k = ((c time + a) space + b) space + d (channel, frame, row, column), G of them at a
/// time:
/// out[t, y, x, o] = 1/G sum_{k = o G}^{(o + 1) G - 1} in[t time + a - pad, y space + b, x space + d, c],
/// where frames before the first are 0 and pad is how many of these fill its cell: T' time - T.
/// in [T, H, W, C] and out [T', H / space, W / space, O] contiguous, f32 or bf16, T' = ceil(T / time), O a divisor of
/// C cell (G = C cell / O). No overlap. Sums in f32.
struct AverageDownArgs {
  TensorView in;
  ResampleFactors factors;
  TensorView out;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.in, &args.out}) visit(*view);
  }
};

/// The way back, each of the C values R = O cell / C times in a row in the order k = ((o time + a) space + b) space + d:
/// out[t time + a - skip, y space + b, x space + d, o] = in[t, y, x, k / R],
/// where the first `skip` frames are left out, less than one cell: T time - T'.
/// in [T, H, W, C] and out [T', H space, W space, O] contiguous, of one dtype, f32 or bf16; C a divisor of O cell. No
/// overlap.
struct DuplicateUpArgs {
  TensorView in;
  ResampleFactors factors;
  TensorView out;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.in, &args.out}) visit(*view);
  }
};

void validate(const AverageDownArgs& args);
void reference(const AverageDownArgs& args);
void average_down(ExecContext& ctx, const AverageDownArgs& args);

void validate(const DuplicateUpArgs& args);
void reference(const DuplicateUpArgs& args);
void duplicate_up(ExecContext& ctx, const DuplicateUpArgs& args);

}  // namespace wan
