// The language model against transformers' Qwen2 and Llama: layers, scores token by token, and what is drawn from them
// (tools/golden/make_qwen.py).

#include <gtest/gtest.h>

#include <cmath>

#include "models/qwen/generate_text.h"
#include "models/qwen/qwen_model.h"
#include "models/qwen/sampler.h"
#include "models/qwen/vision_tower.h"
#include "support/backends.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/tap_recorder.h"

namespace wan::test::qwen_test {
namespace {

// f32 on both sides; sums of up to 72 terms in another order through up to three layers.
constexpr double kTolerance = 2e-5;

/// A golden model, its weights in memory or streamed.
class LoadedModel {
 public:
  LoadedModel(const std::string& name, Kernels kernels, ResidencyOptions residency = {},
              DType weights = DType::kF32)
      : folder_(golden_path("qwen/models/" + name)),
        report_(Checkpoint::open(folder_), "language model"),
        scope_(report_, {.compute_dtype = weights}),
        config_(read_qwen_config(folder_)),
        residency_(
            make_residency({{scope_, qwen_block_layout(config_), static_cast<int>(config_.num_layers)}},
                           std::move(residency))),
        backend_(make_backend(kernels)),
        workspace_(backend_->allocator()),
        model(config_, scope_, *residency_, 0, DType::kF32),
        ctx{.backend = *backend_, .workspace = workspace_, .communicator = alone_, .taps = taps.listener()} {
    report_.check();
  }

  KeyValueCache make_cache(std::int64_t capacity) const {
    return {cpu_allocator(), config_, capacity, model.activation_dtype()};
  }
  /// Scores behind `ids`.
  Tensor forward(std::span<const std::int64_t> ids, KeyValueCache& cache) {
    const auto count = static_cast<std::int64_t>(ids.size());
    const Tensor embedded(DType::kF32, {count, config_.dim});
    model.embed(ids, embedded);
    Tensor logits(ctx.backend.transfer_allocator(), DType::kF32, {config_.vocabulary});
    model.forward(ctx, embedded, text_positions(cache.tokens(), count), cache, logits);
    return logits;
  }

 private:
  std::filesystem::path folder_;
  WeightReport report_;
  WeightScope scope_;
  QwenConfig config_;
  std::unique_ptr<BlockResidency> residency_;
  std::unique_ptr<Backend> backend_;
  Workspace workspace_;
  SelfCommunicator alone_;

 public:
  QwenModel model;
  TapRecorder taps;
  ExecContext ctx;
};

class QwenParity : public ::testing::TestWithParam<std::tuple<std::string, Kernels>> {};

TEST_P(QwenParity, ScoresAreTheReferencesTokenByToken) {
  const auto& [name, kernels] = GetParam();
  const GoldenFile golden(golden_path("qwen/models/" + name + ".safetensors"));
  const std::vector<std::int64_t> ids = golden.integers("ids");
  const std::vector<std::int64_t> greedy = golden.integers("greedy");
  const Tensor expected = golden.tensor("logits");
  LoadedModel loaded(name, kernels);
  KeyValueCache cache = loaded.make_cache(static_cast<std::int64_t>(ids.size() + greedy.size()));
  EXPECT_TRUE(all_close(loaded.forward(ids, cache), expected.view().select(0, 0), kTolerance));
  for (const std::string& tap : golden.names("layers.")) {
    const auto& calls = loaded.taps.calls().at("model.layers." + tap);
    EXPECT_TRUE(all_close(calls.front(), golden.tensor("layers." + tap), kTolerance)) << tap;
  }
  for (std::size_t i = 0; i < greedy.size(); ++i)
    EXPECT_TRUE(all_close(loaded.forward({&greedy[i], 1}, cache),
                          expected.view().select(0, static_cast<std::int64_t>(i) + 1), kTolerance))
        << "token " << i;
}

TEST_P(QwenParity, GreedyAnswerIsTheReferences) {
  const auto& [name, kernels] = GetParam();
  const GoldenFile golden(golden_path("qwen/models/" + name + ".safetensors"));
  std::vector<std::int64_t> text = golden.integers("ids");
  const std::vector<std::int64_t> greedy = golden.integers("greedy");
  SamplingConfig sampling = read_sampling_config(golden_path("qwen/models/" + name));
  EXPECT_TRUE(sampling.samples);
  EXPECT_EQ(sampling.end_ids.size(), 2u);
  sampling.samples = false;
  TokenSampler sampler(sampling, 1);
  LoadedModel loaded(name, kernels);
  KeyValueCache cache = loaded.make_cache(200);
  std::vector<std::int64_t> answer;
  for (std::span<const std::int64_t> added = text; answer.size() < greedy.size();) {
    const Tensor logits = loaded.forward(added, cache);
    answer.push_back(sampler.next({logits.as<float>(), static_cast<std::size_t>(logits.elements())}, text));
    text.push_back(answer.back());
    added = {&answer.back(), 1};
  }
  EXPECT_EQ(answer, greedy);
}

INSTANTIATE_TEST_SUITE_P(Models, QwenParity,
                         ::testing::Combine(::testing::Values("qwen", "llama"),
                                            ::testing::ValuesIn(all_kernels())),
                         [](const auto& instance) {
                           return std::get<0>(instance.param) + "_" +
                                  kernels_name(std::get<1>(instance.param));
                         });

std::vector<float> values_of(const Tensor& tensor) {
  return {tensor.as<float>(), tensor.as<float>() + tensor.elements()};
}

TEST(Qwen, StreamedBlocksGiveTheSameScores) {
  const GoldenFile golden(golden_path("qwen/models/qwen.safetensors"));
  const std::vector<std::int64_t> ids = golden.integers("ids");
  std::vector<std::vector<float>> results;
  for (const auto kind : {ResidencyKind::kResident, ResidencyKind::kStreamed}) {
    LoadedModel loaded("qwen", all_kernels().back(), {.kind = kind, .keep = true, .places = 2});
    KeyValueCache cache = loaded.make_cache(100);
    loaded.forward(ids, cache);
    results.push_back(values_of(loaded.forward({ids.data(), 1}, cache)));
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST(Qwen, Bf16WeightsAreNear) {
  const GoldenFile golden(golden_path("qwen/models/qwen.safetensors"));
  LoadedModel loaded("qwen", all_kernels().back(), {}, DType::kBF16);
  KeyValueCache cache = loaded.make_cache(100);
  // 8 bits of the weights and of every product's input, through three layers of large gains.
  EXPECT_TRUE(all_close(loaded.forward(golden.integers("ids"), cache),
                        golden.tensor("logits").view().select(0, 0), 4e-2));
}

TEST(Qwen, TokensOfAnotherTokenizerAreToldApart) {
  LoadedModel loaded("llama", all_kernels().back());
  KeyValueCache cache = loaded.make_cache(4);
  const std::int64_t foreign = 528;
  EXPECT_THROW(loaded.forward({&foreign, 1}, cache), Error);
}

TEST(Sampling, ScoresAreTransformers) {
  const GoldenFile golden(golden_path("qwen/sampling.safetensors"));
  for (const char* name : {"text", "all", "narrow", "few", "nucleus", "wide"}) {
    const std::string of = std::string(name) + ".";
    const Tensor settings = golden.tensor(of + "settings");
    const SamplingConfig config{.samples = true,
                                .temperature = settings.as<double>()[1],
                                .top_k = static_cast<std::int64_t>(settings.as<double>()[2]),
                                .top_p = settings.as<double>()[3],
                                .repetition_penalty = settings.as<double>()[0],
                                .end_ids = {}};
    std::vector<float> scores = values_of(golden.tensor(of + "logits"));
    const std::vector<std::int64_t> ids = golden.integers(of + "ids");
    const std::vector<TokenScore> likely = likely_tokens(config, scores, ids);
    std::fill(scores.begin(), scores.end(), -std::numeric_limits<float>::infinity());
    for (const TokenScore& token : likely) scores[static_cast<std::size_t>(token.id)] = token.score;
    const std::vector<float> expected = values_of(golden.tensor(of + "scores"));
    for (std::size_t i = 0; i < scores.size(); ++i) {
      ASSERT_EQ(std::isinf(scores[i]), std::isinf(expected[i])) << name << " " << i;
      if (!std::isinf(scores[i])) {
        EXPECT_NEAR(scores[i], expected[i], 1e-5) << name << " " << i;
      }
    }
    // What is drawn is one of those that are left, each about as often as it should be.
    std::vector<int> drawn(scores.size());
    TokenSampler sampler(config, 3);
    constexpr int kDraws = 2000;
    for (int i = 0; i < kDraws; ++i) {
      std::vector<float> logits = values_of(golden.tensor(of + "logits"));
      ++drawn[static_cast<std::size_t>(sampler.next(logits, ids))];
    }
    double total = 0;
    for (const float score : scores) total += std::exp(static_cast<double>(score));
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const double share = std::exp(static_cast<double>(scores[i])) / total;
      const double deviation = std::sqrt(share * (1 - share) / kDraws);
      EXPECT_NEAR(drawn[i] / static_cast<double>(kDraws), share, 5 * deviation) << name << " " << i;
    }
  }
}

TEST(Sampling, ASeedDrawsTheSame) {
  const SamplingConfig config{.samples = true, .top_k = 0, .end_ids = {}};
  const auto draws = [&](std::uint64_t seed) {
    TokenSampler sampler(config, seed);
    std::vector<std::int64_t> ids;
    for (int i = 0; i < 40; ++i) {
      std::vector<float> logits(50, 0.0f);
      ids.push_back(sampler.next(logits, {}));
    }
    return ids;
  };
  EXPECT_EQ(draws(7), draws(7));
  EXPECT_NE(draws(7), draws(8));
}

/// The golden model that sees, its tower's blocks streamed.
class LoadedVision {
 public:
  explicit LoadedVision(Kernels kernels)
      : folder_(golden_path("qwen/models/vl")),
        report_(Checkpoint::open(folder_), "language model"),
        scope_(report_, {}),
        config(read_qwen_config(folder_)),
        layers_(
            make_residency({{scope_, qwen_block_layout(config), static_cast<int>(config.num_layers)}}, {})),
        blocks_(make_residency(
            {{scope_, qwen_vision_block_layout(*config.vision), static_cast<int>(config.vision->num_layers)}},
            {.kind = ResidencyKind::kStreamed, .keep = false, .places = 2})),
        backend_(make_backend(kernels)),
        workspace_(backend_->allocator()),
        model(config, scope_, *layers_, 0, DType::kF32),
        tower(*config.vision, scope_, *blocks_, 0, DType::kF32),
        ctx{.backend = *backend_, .workspace = workspace_, .communicator = alone_} {
    report_.check();
  }

 private:
  std::filesystem::path folder_;
  WeightReport report_;
  WeightScope scope_;

 public:
  QwenConfig config;

 private:
  std::unique_ptr<BlockResidency> layers_, blocks_;
  std::unique_ptr<Backend> backend_;
  Workspace workspace_;
  SelfCommunicator alone_;

 public:
  QwenModel model;
  QwenVisionTower tower;
  ExecContext ctx;
};

class QwenVisionParity : public ::testing::TestWithParam<Kernels> {};

TEST_P(QwenVisionParity, PatchesTokensAndAnswersAreTheReferences) {
  const GoldenFile golden(golden_path("qwen/models/vl.safetensors"));
  LoadedVision loaded(GetParam());
  const Tensor pixels = golden.tensor("picture");
  const PicturePatches picture =
      cut_picture({.data = pixels.as<std::uint8_t>(), .width = pixels.dim(1), .height = pixels.dim(0)},
                  *loaded.config.vision);
  ASSERT_EQ((std::pair{picture.rows, picture.columns}), (std::pair<std::int64_t, std::int64_t>{5, 7}));
  // The reference's patches are row after row of merged ones, four each.
  const Tensor expected = golden.tensor("pixels");
  for (std::int64_t merged = 0; merged < 35; ++merged) {
    const std::int64_t place = picture.merged_in_order[static_cast<std::size_t>(merged)];
    EXPECT_TRUE(all_close(picture.pixels.view().slice(0, 4 * place, 4 * place + 4),
                          expected.view().slice(0, 4 * merged, 4 * merged + 4), 1e-6))
        << merged;
  }

  const Tensor tokens(DType::kF32, {35, loaded.config.dim});
  loaded.tower.encode(loaded.ctx, picture, tokens);
  EXPECT_TRUE(all_close(tokens, golden.tensor("tokens"), kTolerance));

  const TextBeginning beginning = begin_with_picture(loaded.model, golden.integers("ids"), 80, tokens, 5, 7);
  KeyValueCache cache(cpu_allocator(), loaded.config, 60, DType::kF32);
  const Tensor logits(loaded.ctx.backend.transfer_allocator(), DType::kF32, {loaded.config.vocabulary});
  loaded.model.forward(loaded.ctx, beginning.embedded, beginning.positions, cache, logits);
  const Tensor all = golden.tensor("logits");
  EXPECT_TRUE(all_close(logits, all.view().select(0, 0), kTolerance));
  const GeneratedText text =
      generate_text(loaded.ctx, loaded.model, beginning, {.end_ids = {}}, 0, 6, [](std::int64_t) {});
  EXPECT_EQ(text.ids, golden.integers("greedy"));
  EXPECT_FALSE(text.ended);
}

INSTANTIATE_TEST_SUITE_P(Models, QwenVisionParity, ::testing::ValuesIn(all_kernels()),
                         [](const auto& instance) { return kernels_name(instance.param); });

TEST(Picture, SizesAreTheProcessors) {
  const std::vector<std::int64_t> sizes =
      GoldenFile(golden_path("qwen/models/vl.safetensors")).integers("sizes");
  for (std::size_t i = 0; i < sizes.size(); i += 6)
    EXPECT_EQ(fit_picture({sizes[i], sizes[i + 1]}, 28, sizes[i + 4] * 784, sizes[i + 5] * 784),
              (PictureSize{sizes[i + 2], sizes[i + 3]}))
        << sizes[i] << "x" << sizes[i + 1];
  EXPECT_EQ(fit_picture({10, 12}, 28, 784, 7840), (PictureSize{28, 28}));
  EXPECT_THROW(fit_picture({10, 2100}, 28, 784, 7840), Error);
}

TEST(Picture, AnotherTokenOfAPictureIsRefused) {
  LoadedVision loaded(all_kernels().back());
  const Tensor tokens(DType::kF32, {4, loaded.config.dim});
  EXPECT_THROW(begin_with_picture(loaded.model, {5, 80, 80}, 80, tokens, 2, 2), Error);
  EXPECT_THROW(begin_with_picture(loaded.model, {5, 6}, 80, tokens, 2, 2), Error);
}

TEST(QwenConfigFile, TellsOtherNetworks) {
  const std::string good =
      R"({"model_type":"qwen2","hidden_act":"silu","vocab_size":10,"hidden_size":16,"num_hidden_layers":1,)"
      R"("num_attention_heads":4,"num_key_value_heads":2,"intermediate_size":8,"max_position_embeddings":64,)"
      R"("rms_norm_eps":1e-6,"rope_theta":1e6,"rope_scaling":null})";
  EXPECT_EQ(parse_qwen_config(good, "config.json").head_dim, 4);
  const auto code_of = [&](const std::string& from, const std::string& to) {
    std::string changed = good;
    changed.replace(changed.find(from), from.size(), to);
    try {
      parse_qwen_config(changed, "config.json");
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  };
  EXPECT_EQ(code_of("\"qwen2\"", "\"gemma\""), ErrorCode::kUnsupported);
  EXPECT_EQ(code_of("silu", "gelu"), ErrorCode::kUnsupported);
  EXPECT_EQ(code_of("\"rope_scaling\":null", "\"rope_scaling\":{\"type\":\"yarn\"}"),
            ErrorCode::kUnsupported);
  EXPECT_EQ(code_of("\"num_key_value_heads\":2", "\"num_key_value_heads\":3"), ErrorCode::kBadFile);
  EXPECT_EQ(code_of("\"hidden_size\":16", "\"hidden_size\":18"), ErrorCode::kBadFile);
  EXPECT_EQ(code_of("\"hidden_size\":16", "\"hidden_size\":-16"), ErrorCode::kBadFile);
  EXPECT_EQ(code_of("1e-6", "0"), ErrorCode::kBadFile);
}

}  // namespace
}  // namespace wan::test::qwen_test
