// Several ranks on one video, on as many GPUs as there are and, where those are too few, several on one: the latents of one rank.

#include <gtest/gtest.h>

#include "backends/cuda/cuda_backend.h"
#include "engine/engine_internals.h"
#include "kept/saved_latents.h"
#include "support/compare.h"
#include "support/golden.h"
#include "support/temp_folder.h"

namespace wan::test {
namespace {

constexpr double kFp32 = 2e-5;  // the order of sums
constexpr double kBf16 = 4e-2;  // of a whole run, as another order of sums in bf16 moves it

std::vector<std::unique_ptr<Backend>> make_backends(int ranks) {
  std::vector<std::unique_ptr<Backend>> backends;
  for (int rank = 0; rank < ranks; ++rank)
    backends.push_back(make_cuda_backend({.device = rank % cuda_device_count(), .tf32_convolutions = false}));
  return backends;
}

GenerationRequest request_in(const std::filesystem::path& folder) {
  GenerationRequest request;
  request.task = "t2v-A14B";
  request.prompt = "a red circle moves right on a blue background";
  request.size = VideoSize{128, 112};
  request.frame_num = 13;
  request.sample_steps = 4;
  request.seed = 1;
  request.save_file = folder / "frame_%05d.png";
  request.save_latents = folder / "latents.safetensors";
  return request;
}

Tensor latents_of(Engine& engine, const GenerationRequest& request) {
  engine.generate(request);
  SavedLatents saved = load_latents(request.save_latents);
  return std::move(saved.slots.front());
}

Tensor latents_of(int ranks, const std::string& precision, const std::filesystem::path& folder) {
  Engine engine = make_engine({.ckpt_dir = golden_path("../../models/demo"), .precision = precision},
                              make_backends(ranks));
  return latents_of(engine, request_in(folder));
}

TEST(Ranks, MakeTheLatentsOfOne) {
  const TempFolder folder;
  for (const auto& [precision, tolerance] : {std::pair("fp32", kFp32), std::pair("bf16", kBf16)}) {
    const Tensor alone = latents_of(1, precision, folder.path());
    for (int ranks = 2; ranks <= 4; ++ranks)
      EXPECT_TRUE(all_close(latents_of(ranks, precision, folder.path()), alone, tolerance))
          << precision << ", " << ranks << " ranks on " << cuda_device_count() << " GPUs";
  }
}

// The same kernels on the same values, whichever memory they came from.
TEST(Ranks, ThatDivideWeightsMakeTheSameLatents) {
  const TempFolder folder;
  GenerationRequest request = request_in(folder.path());
  request.size = VideoSize{32, 32};  // so that blocks are the most of what is in memory
  request.frame_num = 1;
  for (const char* precision : {"fp32", "bf16"})
    for (int ranks = 2; ranks <= 4; ++ranks) {
      Engine without = make_engine({.ckpt_dir = golden_path("../../models/demo"), .precision = precision},
                                   make_backends(ranks));
      const Tensor whole = latents_of(without, request);
      for (const bool keep : {false, true})
        for (const bool some : {false, true}) {  // of the blocks
          EngineOptions options{.ckpt_dir = golden_path("../../models/demo"),
                                .dit_fsdp = true,
                                .t5_fsdp = true,
                                .precision = precision,
                                .keep_models = keep};
          const MemoryPlan all = make_engine(options, make_backends(ranks)).plan(request);
          if (some) options.memory_limit = all.peak - (all.transformers - all.transformers / ranks) / 8;
          std::vector<std::unique_ptr<Backend>> backends = make_backends(ranks);
          const Backend& first = *backends.front();
          Engine engine = make_engine(options, std::move(backends));
          const MemoryPlan plan = engine.plan(request);
          for (int video = 0; video < 2; ++video)
            EXPECT_TRUE(all_close(latents_of(engine, request), whole, 0))
                << precision << ", " << ranks << " ranks, video " << video << ": " << to_string(plan);
          EXPECT_LE(first.memory_use().peak, (plan.peak - plan.program) * 101 / 100) << to_string(plan);
        }
    }
}

}  // namespace
}  // namespace wan::test
