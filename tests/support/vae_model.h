#pragma once
// A VAE of tests/golden with all that it runs on.

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "models/vae21/vae21.h"
#include "models/vae22/vae22.h"
#include "ops/backend.h"
#include "ops/copy.h"
#include "support/backends.h"
#include "support/golden.h"

namespace wan::test {

/// `name`: "vae21/levels4", a case of tools/golden/make_vae21.py, or of make_vae22.py.
inline GoldenFile vae_golden(const std::string& name) {
  return GoldenFile(golden_path(name + ".safetensors"));
}

class VaeModel {
 public:
  /// On several ranks a model each; `communicator` outlives it.
  explicit VaeModel(const std::string& name, Kernels kernels = Kernels::kCpu,
                    const VaePrecision& precision = {}, Communicator* communicator = nullptr)
      : VaeModel(Checkpoint::open(golden_path(name + ".pth")), name.starts_with("vae22/"), kernels, precision,
                 communicator) {}
  VaeModel(const Checkpoint& checkpoint, bool is_vae22, Kernels kernels, const VaePrecision& precision = {},
           Communicator* communicator = nullptr)
      : report_(checkpoint, "VAE"),
        vae_(load(is_vae22, WeightScope(report_, {}), precision)),
        backend_(make_backend(kernels)),
        context_{.backend = *backend_,
                 .workspace = workspace_,
                 .communicator = communicator != nullptr ? *communicator : alone_} {
    report_.check();
  }

  const VideoVae& vae() const { return *vae_; }
  Workspace& workspace() { return workspace_; }
  ExecContext& context() { return context_; }

  VaePlan plan_decode(const TensorView& latents, std::size_t budget = 0) const {
    return vae_->plan_decode({latents.dim(1), latents.dim(2), latents.dim(3)}, budget, nullptr,
                             context_.communicator.size());
  }
  VaePlan plan_encode(const TensorView& latents, std::size_t budget = 0) const {
    return vae_->plan_encode({latents.dim(1), latents.dim(2), latents.dim(3)}, budget, nullptr,
                             context_.communicator.size());
  }

  /// Every plan without tiles, each with less memory than the one before: whole groups, frame by frame, compact.
  std::vector<VaePlan> decode_plans(const TensorView& latents) const {
    return untiled(latents, [&](std::size_t budget) { return plan_decode(latents, budget); });
  }
  std::vector<VaePlan> encode_plans(const TensorView& latents) const {
    return untiled(latents, [&](std::size_t budget) { return plan_encode(latents, budget); });
  }

  /// All frames [T, H, W, 3]; the sizes of the groups in `groups`. On another rank than the first: undefined values.
  Tensor decode(const TensorView& latents, const VaePlan& plan, std::vector<std::int64_t>* groups = nullptr) {
    const VaeGeometry geometry = vae_->geometry();
    const std::int64_t stride = geometry.spatial_stride;
    Tensor frames(DType::kF32,
                  {geometry.frames(latents.dim(1)), latents.dim(2) * stride, latents.dim(3) * stride, 3});
    std::int64_t first = 0;
    vae_->decode(context_, latents, plan, [&](const TensorView& group) {
      const TensorView target = frames.view().slice(0, first, first + group.dim(0));
      reference(CopyArgs{.from = group, .out = target});
      first += group.dim(0);
      if (groups != nullptr) groups->push_back(group.dim(0));
    });
    EXPECT_EQ(first, context_.communicator.rank() == 0 ? frames.dim(0) : 0);
    return frames;
  }

  /// Latents of the first `frames` frames of a clip [T, H, W, 3], clamped.
  Tensor encode(const TensorView& clip, std::int64_t frames, const VaePlan& plan) {
    const VaeGeometry geometry = vae_->geometry();
    const std::int64_t stride = geometry.spatial_stride;
    Tensor latents(DType::kF32, {geometry.z_dim, geometry.latent_frames(frames), clip.dim(1) / stride,
                                 clip.dim(2) / stride});
    const auto source = [&](std::int64_t first, const TensorView& group) {
      const float* from = clip.slice(0, first, first + group.dim(0)).as<float>();
      std::transform(from, from + group.elements(), group.as<float>(),
                     [](float value) { return std::clamp(value, -1.0f, 1.0f); });
    };
    vae_->encode(context_, source, plan, latents);
    return latents;
  }

 private:
  static std::unique_ptr<VideoVae> load(bool is_vae22, const WeightScope& scope,
                                        const VaePrecision& precision) {
    if (is_vae22) return std::make_unique<Vae22>(scope, precision);
    return std::make_unique<Vae21>(scope, precision);
  }

  template <typename MakePlan>
  static std::vector<VaePlan> untiled(const TensorView& latents, MakePlan&& make) {
    std::vector<VaePlan> plans;
    try {
      for (VaePlan plan = make(0); plan.tile_height == latents.dim(2) && plan.tile_width == latents.dim(3);
           plan = make(plan.bytes - 1))
        plans.push_back(plan);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kOutOfMemory);  // too small for tiles
    }
    EXPECT_TRUE(plans.size() >= 2 && plans[1].frame_by_frame);
    return plans;
  }

  WeightReport report_;
  std::unique_ptr<VideoVae> vae_;
  std::unique_ptr<Backend> backend_;
  Workspace workspace_{backend_->allocator()};
  SelfCommunicator alone_;
  ExecContext context_;
};

}  // namespace wan::test
