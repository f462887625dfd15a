// diffusers' own models through the map of names: the transformer and the VAEs compute what diffusers does, and have a place for every weight.

#include <gtest/gtest.h>

#include <algorithm>

#include "layouts/part.h"
#include "layouts/part_names.h"
#include "layouts/transformer_config.h"
#include "models/vae21/latent_statistics.h"
#include "models/vae21/vae21.h"
#include "models/vae22/latent_statistics.h"
#include "models/vae22/vae22.h"
#include "models/wan/transformer.h"
#include "parallel/communicator.h"
#include "support/backends.h"
#include "support/compare.h"
#include "support/golden.h"
#include "support/vae_model.h"

namespace wan::test {
namespace {

TEST(DiffusersLayout, TheTransformerComputesWhatDiffusersDoes) {
  const std::filesystem::path folder = golden_path("layouts/transformer");
  const Checkpoint raw = Checkpoint::open(folder);
  const PartFacts facts = recognize_part(raw);
  EXPECT_EQ(facts.kind, PartKind::kTransformer);
  EXPECT_EQ(facts.naming, "diffusers");
  EXPECT_EQ(facts.model_type, "t2v");
  WeightReport report(open_part(folder, PartKind::kTransformer), "transformer");
  const WeightScope scope(report, {});
  const auto text = transformer_config_of(folder, facts.model_type);
  ASSERT_TRUE(text);
  const WanConfig config = complete_wan_config(parse_wan_config(text->json, text->where), text->where, scope);
  EXPECT_EQ(config.num_heads, 2);
  const auto residency =
      make_residency({{scope, wan_block_layout(config), static_cast<int>(config.num_layers)}}, {});
  const WanTransformer transformer(config, scope, *residency, 0, DType::kF32, "model.");
  report.check();

  const GoldenFile golden(golden_path("layouts/transformer_pass.safetensors"));
  const auto backend = make_backend(Kernels::kCpu);
  Workspace workspace(backend->allocator());
  SelfCommunicator alone;
  ExecContext context{.backend = *backend, .workspace = workspace, .communicator = alone};
  TextContext prompt;
  transformer.embed_text(context, golden.tensor("context"), prompt);
  const Tensor latent = golden.tensor("latent");
  const TokenLayout layout = TokenLayout::video(latent.dim(1), latent.dim(2) / 2, latent.dim(3) / 2, 1, 0, 0);
  const Tensor rope = transformer.make_rope_table(context, layout);
  const Tensor velocity(DType::kF32, latent.shape());
  const Conditioning conditioning;
  const double times[] = {static_cast<double>(golden.integers("timestep").front())};
  const GuidanceBranch branch{&prompt, &conditioning, velocity};
  transformer.forward(context, {latent, times, layout, rope}, {&branch, 1});
  EXPECT_TRUE(all_close(velocity, golden.tensor("velocity"), 2e-5));  // f32 sums in another order
}

TEST(DiffusersLayout, EveryWeightOfItsVaesHasItsPlace) {
  for (const auto& [name, type] :
       {std::pair{"layouts/vae21", "vae21"}, std::pair{"layouts/vae22", "vae22"}}) {
    const std::filesystem::path folder = golden_path(name);
    const PartFacts facts = recognize_part(Checkpoint::open(folder));
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
