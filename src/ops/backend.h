#pragma once
// Backend: what a device must implement. One pair of functions an op: whether its kernel takes these
// arguments, and the kernel. Ops are called through the functions of ops/*.h, which validate first.

#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/channel_norm.h"
#include "ops/channel_resample.h"
#include "ops/conv3d.h"
#include "ops/copy.h"
#include "ops/embedding.h"
#include "ops/fill_zero.h"
#include "ops/finite.h"
#include "ops/gated_gelu.h"
#include "ops/gated_residual.h"
#include "ops/layer_norm.h"
#include "ops/linear.h"
#include "ops/linear_combination.h"
#include "ops/patchify.h"
#include "ops/rms_norm.h"
#include "ops/rms_norm_rope.h"
#include "ops/upsample.h"

namespace wan {

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const char* name() const = 0;
  virtual Device device() const = 0;
  virtual Allocator& allocator() = 0;
  /// Waits until all enqueued work is done. Throws Device when a kernel failed.
  virtual void synchronize() = 0;
  /// Copy contiguous memory from the host to the device, or back: same dtype, same number of elements. The host memory
  /// may be reused, or is filled, when the call returns.
  virtual void upload(const TensorView& host, const TensorView& device) = 0;
  virtual void download(const TensorView& device, const TensorView& host) = 0;

  virtual bool supports(const ActivationArgs&) const = 0;
  virtual void run(ExecContext&, const ActivationArgs&) = 0;
  virtual bool supports(const AttentionArgs&) const = 0;
  virtual void run(ExecContext&, const AttentionArgs&) = 0;
  virtual bool supports(const AverageDownArgs&) const = 0;
  virtual void run(ExecContext&, const AverageDownArgs&) = 0;
  virtual bool supports(const ChannelNormArgs&) const = 0;
  virtual void run(ExecContext&, const ChannelNormArgs&) = 0;
  virtual bool supports(const Conv3dArgs&) const = 0;
  virtual void run(ExecContext&, const Conv3dArgs&) = 0;
  virtual bool supports(const CopyArgs&) const = 0;
  virtual void run(ExecContext&, const CopyArgs&) = 0;
  virtual bool supports(const CountNonFiniteArgs&) const = 0;
  virtual void run(ExecContext&, const CountNonFiniteArgs&) = 0;
  virtual bool supports(const DuplicateUpArgs&) const = 0;
  virtual void run(ExecContext&, const DuplicateUpArgs&) = 0;
  virtual bool supports(const EmbeddingArgs&) const = 0;
  virtual void run(ExecContext&, const EmbeddingArgs&) = 0;
  virtual bool supports(const FillZeroArgs&) const = 0;
  virtual void run(ExecContext&, const FillZeroArgs&) = 0;
  virtual bool supports(const GatedGeluArgs&) const = 0;
  virtual void run(ExecContext&, const GatedGeluArgs&) = 0;
  virtual bool supports(const GatedResidualArgs&) const = 0;
  virtual void run(ExecContext&, const GatedResidualArgs&) = 0;
  virtual bool supports(const LayerNormArgs&) const = 0;
  virtual void run(ExecContext&, const LayerNormArgs&) = 0;
  virtual bool supports(const LinearArgs&) const = 0;
  virtual void run(ExecContext&, const LinearArgs&) = 0;
  virtual bool supports(const LinearCombinationArgs&) const = 0;
  virtual void run(ExecContext&, const LinearCombinationArgs&) = 0;
  virtual bool supports(const PatchifyArgs&) const = 0;
  virtual void run(ExecContext&, const PatchifyArgs&) = 0;
  virtual bool supports(const UnpatchifyArgs&) const = 0;
  virtual void run(ExecContext&, const UnpatchifyArgs&) = 0;
  virtual bool supports(const RmsNormArgs&) const = 0;
  virtual void run(ExecContext&, const RmsNormArgs&) = 0;
  virtual bool supports(const RmsNormRopeArgs&) const = 0;
  virtual void run(ExecContext&, const RmsNormRopeArgs&) = 0;
  virtual bool supports(const UpsampleArgs&) const = 0;
  virtual void run(ExecContext&, const UpsampleArgs&) = 0;
};

}  // namespace wan
