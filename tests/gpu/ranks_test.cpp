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

Tensor latents_of(int ranks, const std::string& guidance_parallel, const std::string& precision,
                  const std::filesystem::path& folder, const std::string& p2p = "auto") {
  std::vector<std::unique_ptr<Backend>> backends;
  for (int rank = 0; rank < ranks; ++rank)
    backends.push_back(make_cuda_backend({.device = rank % cuda_device_count(), .tf32_convolutions = false}));
  GenerationRequest request;
  request.task = "t2v-A14B";
  request.prompt = "a red circle moves right on a blue background";
  request.size = VideoSize{128, 112};
  request.frame_num = 13;
  request.sample_steps = 4;
  request.seed = 1;
  request.save_file = folder / "frame_%05d.png";
  request.save_latents = folder / (precision + std::to_string(ranks) + guidance_parallel + ".safetensors");
  make_engine({.ckpt_dir = golden_path("../../models/demo"),
               .guidance_parallel = guidance_parallel,
               .p2p = p2p,
               .precision = precision},
              std::move(backends))
      .generate(request);
  SavedLatents saved = load_latents(request.save_latents);
  return std::move(saved.slots.front());
}

TEST(Ranks, MakeTheLatentsOfOne) {
  const TempFolder folder;
  for (const auto& [precision, tolerance] : {std::pair("fp32", kFp32), std::pair("bf16", kBf16)}) {
    const Tensor alone = latents_of(1, "off", precision, folder.path());
    for (int ranks = 2; ranks <= 4; ++ranks)
      for (const std::string halves : {"off", "on"}) {
        if (halves == "on" && ranks % 2 != 0) continue;
        EXPECT_TRUE(all_close(latents_of(ranks, halves, precision, folder.path()), alone, tolerance))
            << precision << ", " << ranks << " ranks on " << cuda_device_count()
            << " GPUs, guidance parallel " << halves;
      }
  }
}

TEST(Ranks, ExchangeThroughTheHost) {
  const TempFolder folder;
  const Tensor alone = latents_of(1, "off", "fp32", folder.path());
  for (const std::string halves : {"off", "on"})
    EXPECT_TRUE(all_close(latents_of(2, halves, "fp32", folder.path(), "off"), alone, kFp32)) << halves;
}

}  // namespace
}  // namespace wan::test
