// diffusers' and transformers' own models through the map of names: each computes what it does there, and has a place for every weight.

#include <gtest/gtest.h>

#include <algorithm>

#include "layouts/part.h"
#include "layouts/part_names.h"
#include "layouts/transformer_config.h"
#include "models/clip/clip_vision.h"
#include "models/umt5/umt5_encoder.h"
#include "models/vae21/latent_statistics.h"
#include "models/vae21/vae21.h"
#include "models/vae22/latent_statistics.h"
#include "models/vae22/vae22.h"
#include "models/wan/animate/animate_conditioning.h"
#include "models/wan/transformer.h"
#include "ops/copy.h"
#include "ops/fill_zero.h"
#include "parallel/communicator.h"
#include "support/backends.h"
#include "support/compare.h"
#include "support/golden.h"
#include "support/vae_model.h"

namespace wan::test {
namespace {

/// What a model runs on.
struct Machine {
  std::unique_ptr<Backend> backend = make_backend(Kernels::kCpu);
  Workspace workspace{backend->allocator()};
  SelfCommunicator alone;
  ExecContext context{.backend = *backend, .workspace = workspace, .communicator = alone};
};

/// A transformer in a folder of diffusers.
class DiffusersTransformer {
 public:
  DiffusersTransformer(const std::filesystem::path& folder, std::string_view model_type)
      : report_(open_part(folder, PartKind::kTransformer), "transformer"),
        scope_(report_, {}),
        config_(config_of(folder, model_type, scope_)),
        residency_(
            make_residency({{scope_, wan_block_layout(config_), static_cast<int>(config_.num_layers)}}, {})),
        transformer_(config_, scope_, *residency_, 0, DType::kF32, "model.") {
    report_.check();
  }

  const WanConfig& config() const { return config_; }
  const WanTransformer& model() const { return transformer_; }

  /// The velocity of a golden file's latent, timestep and text.
  Tensor velocity(ExecContext& context, const GoldenFile& golden, const Conditioning& conditioning) const {
    TextContext prompt;
    transformer_.embed_text(context, golden.tensor("context"), prompt);
    const Tensor latent = golden.tensor("latent");
    const TokenLayout layout =
        TokenLayout::video(latent.dim(1), latent.dim(2) / 2, latent.dim(3) / 2, 1, 0, 0);
    const Tensor rope = transformer_.make_rope_table(context, layout);
    Tensor velocity(DType::kF32, latent.shape());
    const double times[] = {static_cast<double>(golden.integers("timestep").front())};
    const GuidanceBranch branch{&prompt, &conditioning, velocity};
    transformer_.forward(context, {latent, times, layout, rope}, {&branch, 1});
    return velocity;
  }

 private:
  static WanConfig config_of(const std::filesystem::path& folder, std::string_view model_type,
                             const WeightScope& scope) {
    const auto text = transformer_config_of(folder, model_type);
    return complete_wan_config(parse_wan_config(text.value().json, text->where), text->where, scope);
  }

  WeightReport report_;
  WeightScope scope_;
  WanConfig config_;
  std::unique_ptr<BlockResidency> residency_;
  WanTransformer transformer_;
};

PartFacts facts_of(const std::filesystem::path& folder) {
  return recognize_part(Checkpoint::open(folder));
}

TEST(DiffusersLayout, TheTransformerComputesWhatDiffusersDoes) {
  const std::filesystem::path folder = golden_path("layouts/transformer");
  const PartFacts facts = facts_of(folder);
  EXPECT_EQ(facts.kind, PartKind::kTransformer);
  EXPECT_EQ(facts.naming, "diffusers");
  EXPECT_EQ(facts.model_type, "t2v");
  const DiffusersTransformer transformer(folder, facts.model_type);
  EXPECT_EQ(transformer.config().num_heads, 2);
  const GoldenFile golden(golden_path("layouts/transformer_pass.safetensors"));
  Machine machine;
  const Tensor velocity = transformer.velocity(machine.context, golden, {});
  EXPECT_TRUE(all_close(velocity, golden.tensor("velocity"), 2e-5));  // f32 sums in another order
}

TEST(DiffusersLayout, TheAnimationTransformerComputesWhatDiffusersDoes) {
  const std::filesystem::path folder = golden_path("layouts/animate");
  const PartFacts facts = facts_of(folder);
  EXPECT_EQ(facts.naming, "diffusers");
  EXPECT_EQ(facts.model_type, "animate");
  const DiffusersTransformer transformer(folder, facts.model_type);
  const WanConfig& config = transformer.config();
  const GoldenFile golden(golden_path("layouts/animate_pass.safetensors"));
  Machine machine;
  ExecContext& context = machine.context;

  const Tensor y = golden.tensor("y"), pose = golden.tensor("pose");
  const AnimateChannels at(config);
  const Tensor channels(DType::kF32, {at.all(), y.dim(1), y.dim(2), y.dim(3)});
  fill_zero(context, channels);
  copy(context, {y, channels.view().slice(0, 0, at.known)});
  copy(context, {pose, channels.view().slice(0, at.known, at.pose).slice(1, 1, y.dim(1))});
  mark_posed_frames(context, at, channels);

  const Tensor levels = golden.tensor("faces");
  const Tensor faces(DType::kF32, levels.shape());
  for (std::int64_t i = 0; i < faces.elements(); ++i)
    faces.as<float>()[i] = static_cast<float>(levels.as<std::uint8_t>()[i]) / 127.5f - 1.0f;
  const Tensor motion(DType::kF32, {faces.dim(0), config.animate->motion_dim});
  transformer.model().motion_encoder().encode(context, faces, motion);

  CharacterContext character(context, transformer.model(), golden.tensor("image"));
  const AnimateConditioning conditioning(context, transformer.model(), character,
                                         {.channels = channels, .motion = {motion}});
  const Tensor velocity = transformer.velocity(context, golden, conditioning.branch(0));
  EXPECT_TRUE(all_close(velocity, golden.tensor("velocity"), 2e-5));
}

TEST(DiffusersLayout, TheTextEncoderComputesWhatTransformersDoes) {
  const std::filesystem::path folder = golden_path("layouts/text_encoder");
  const PartFacts facts = facts_of(folder);
  EXPECT_EQ(facts.kind, PartKind::kTextEncoder);
  EXPECT_EQ(facts.naming, "transformers");
  WeightReport report(open_part(folder, PartKind::kTextEncoder), "text encoder");
  const WeightScope scope(report, {});
  const Umt5Config config = umt5_config(scope);
  const auto residency =
      make_residency({{scope, umt5_block_layout(config), static_cast<int>(config.num_layers)}}, {});
  const Umt5Encoder encoder(config, scope, *residency, 0, "");
  report.check();
  const GoldenFile golden(golden_path("layouts/text_encoder_pass.safetensors"));
  const std::vector<std::int64_t> ids = golden.integers("ids");
  const Tensor output(DType::kF32, {static_cast<std::int64_t>(ids.size()), config.dim});
  Machine machine;
  encoder.encode(machine.context, ids, output);
  EXPECT_TRUE(all_close(output, golden.tensor("output"), 2e-5));
}

TEST(DiffusersLayout, TheImageEncoderComputesWhatTransformersDoes) {
  const std::filesystem::path folder = golden_path("layouts/image_encoder");
  const PartFacts facts = facts_of(folder);
  EXPECT_EQ(facts.kind, PartKind::kImageEncoder);
  EXPECT_EQ(facts.naming, "transformers");
  WeightReport report(open_part(folder, PartKind::kImageEncoder), "image encoder");
  const WeightScope top(report, {.compute_dtype = DType::kF32}), visual = top.child("visual");
  const ClipConfig config = clip_config(visual);
  const auto residency =
      make_residency({{visual, clip_block_layout(config), static_cast<int>(config.num_layers)}}, {});
  const ClipVision clip(config, visual, *residency, 0, "");
  skip_unneeded_clip(top);
  report.check();
  const GoldenFile golden(golden_path("layouts/image_encoder_pass.safetensors"));
  const Tensor tokens(DType::kF32, {config.tokens(), config.dim});
  Machine machine;
  clip.encode(machine.context, golden.tensor("pixels"), tokens);
  EXPECT_TRUE(all_close(tokens, golden.tensor("tokens"), 2e-5));
}

TEST(DiffusersLayout, EveryWeightOfItsVaesHasItsPlace) {
  for (const auto& [name, type] :
       {std::pair{"layouts/vae21", "vae21"}, std::pair{"layouts/vae22", "vae22"}}) {
    const std::filesystem::path folder = golden_path(name);
    const PartFacts facts = facts_of(folder);
    EXPECT_EQ(facts.kind, PartKind::kVae);
    EXPECT_EQ(facts.naming, "diffusers");
    EXPECT_EQ(facts.model_type, type);
    WeightReport report(open_part(folder, PartKind::kVae), "VAE");
    const WeightScope scope = WeightScope::describing(report);
    if (facts.model_type == "vae22")
      static_cast<void>(Vae22(scope).config());
    else
      static_cast<void>(Vae21(scope).config());
    EXPECT_TRUE(report.clean()) << report.describe();
  }
}

/// From latents of mean 0 and deviation 1, which this program has, to diffusers', or back.
Tensor with_statistics(const Tensor& latents, const LatentStatistics& statistics, bool back) {
  Tensor made(DType::kF32, latents.shape());
  const std::int64_t of_channel = latents.elements() / latents.dim(0);
  for (std::int64_t i = 0; i < latents.elements(); ++i) {
    const auto channel = static_cast<std::size_t>(i / of_channel);
    const double value = latents.as<float>()[i], mean = statistics.mean[channel];
    const double deviation = statistics.deviation[channel];
    made.as<float>()[i] = static_cast<float>(back ? (value - mean) / deviation : value * deviation + mean);
  }
  return made;
}

TEST(DiffusersLayout, TheVaesComputeWhatDiffusersDoes) {
  for (const std::string name : {"vae21", "vae22"}) {
    SCOPED_TRACE(name);
    const bool is_vae22 = name == "vae22";
    VaeModel model(open_part(golden_path("layouts/" + name), PartKind::kVae), is_vae22, Kernels::kCpu);
    const GoldenFile golden(golden_path("layouts/" + name + "_pass.safetensors"));
    const Tensor theirs = golden.tensor("latents"), frames = golden.tensor("frames");
    const LatentStatistics statistics =
        is_vae22 ? vae22_latent_statistics(theirs.dim(0)) : vae21_latent_statistics(theirs.dim(0));
    const Tensor latents = with_statistics(theirs, statistics, /*back=*/true);
    const Tensor made = model.decode(latents, model.plan_decode(latents));
    for (std::int64_t i = 0; i < made.elements(); ++i)
      made.as<float>()[i] = std::clamp(made.as<float>()[i], -1.0f, 1.0f);
    EXPECT_TRUE(all_close(made, frames, 1e-5, 3e-5));  // f32 sums in another order
    const Tensor encoded = model.encode(frames, frames.dim(0), model.plan_encode(latents));
    EXPECT_TRUE(
        all_close(with_statistics(encoded, statistics, /*back=*/false), golden.tensor("encoded"), 2e-5));
  }
}

TEST(PartNames, WhatIsNotKnownStays) {
  EXPECT_EQ(transformer_name_from_diffusers("blocks.x.attn1.to_q.weight"), "blocks.x.attn1.to_q.weight");
  EXPECT_EQ(transformer_name_from_diffusers("blocks.3.attn1.to_qx.weight"),
            "blocks.3.self_attn.to_qx.weight");
  EXPECT_EQ(vae_name_from_diffusers("decoder.up_blocks.0.resnets.9.conv1.weight", false),
            "decoder.up_blocks.0.resnets.9.conv1.weight");
  EXPECT_EQ(text_encoder_name_from_llama("enc.blk.7.attn_rel_b.weight"),
            "blocks.7.pos_embedding.embedding.weight");
  EXPECT_EQ(text_encoder_name_from_llama("enc.blk.7.ffn_gate.weight"), "blocks.7.ffn.gate.0.weight");
  EXPECT_EQ(transformer_name_from_diffusers("motion_encoder.conv_out.weight", 3),
            "motion_encoder.enc.net_app.convs.4.weight");
  EXPECT_EQ(transformer_name_from_diffusers("face_adapter.2.to_v.bias"), "face_adapter.2.to_v.bias");
  EXPECT_EQ(transformer_name_from_diffusers("blocks.99999999999.norm2.weight"),
            "blocks.99999999999.norm2.weight");
  EXPECT_EQ(official_rows("face_adapter.2.to_v.bias").value().name,
            "face_adapter.fuser_blocks.2.linear1_kv.bias");
  EXPECT_FALSE(official_rows("face_adapter.2.to_q.bias"));
  EXPECT_EQ(text_encoder_name_from_transformers("encoder.block.1.layer.1.DenseReluDense.wo.weight"),
            "blocks.1.ffn.fc2.weight");
}

TEST(PartNames, AFilesNameTellsItsExpert) {
  for (const char* name : {"wan2.2_t2v_high_noise_14B", "Wan2.2-I2V-A14B-HighNoise-Q4_K_M.gguf",
                           "Wan2_2-T2V-A14B_HIGH_fp8", "lora-H-rank64", "high_noise_model.safetensors"})
    EXPECT_EQ(expert_in_name(name), "high") << name;
  for (const char* name :
       {"wan2.2_i2v_low_noise_14B", "LowNoise.gguf", "x_LOW.safetensors", "a_L.safetensors"})
    EXPECT_EQ(expert_in_name(name), "low") << name;
  for (const char* name : {"wan2.2_ti2v_5B", "slow_motion", "flowers", "high_and_low", "highlight"})
    EXPECT_EQ(expert_in_name(name), "") << name;
}

}  // namespace
}  // namespace wan::test
