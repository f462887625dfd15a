// Several ranks on one video, on as many GPUs as there are and, where those are too few, several on one: latents and frames of one rank.

#include <gtest/gtest.h>

#include "backends/cuda/cuda_backend.h"
#include "engine/engine_internals.h"
#include "kept/saved_latents.h"
#include "media/npy.h"
#include "support/compare.h"
#include "support/golden.h"
#include "support/temp_folder.h"

namespace wan::test {
namespace {

constexpr double kFp32 = 2e-5;  // the order of sums
constexpr double kBf16 = 4e-2;  // of a whole run, as another order of sums in bf16 moves it

struct Made {
  Tensor latents;
  Tensor frames;  // in [-1, 1]
};

struct Way {
  int ranks = 1;
  std::string guidance_parallel = "off";
  std::string p2p = "auto";
};

Made make(const Way& way, const std::string& precision, const std::filesystem::path& folder) {
  std::vector<std::unique_ptr<Backend>> backends;
  for (int rank = 0; rank < way.ranks; ++rank)
    backends.push_back(make_cuda_backend({.device = rank % cuda_device_count(), .tf32_convolutions = false}));
  GenerationRequest request;
  request.task = "t2v-A14B";
  request.prompt = "a red circle moves right on a blue background";
  request.size = VideoSize{128, 112};
  request.frame_num = 13;
  request.sample_steps = 4;
  request.seed = 1;
  request.save_file = folder / "frame_%05d.png";
  const std::string name = fmt::format("{}-{}-{}-{}", precision, way.ranks, way.guidance_parallel, way.p2p);
  request.save_latents = folder / (name + ".safetensors");
  request.dump_dir = folder / name;
  make_engine({.ckpt_dir = golden_path("../../models/demo"),
               .guidance_parallel = way.guidance_parallel,
               .p2p = way.p2p,
               .precision = precision},
              std::move(backends))
      .generate(request);
  SavedLatents saved = load_latents(request.save_latents);
  const NpyFile file(request.dump_dir / "frames_float.npy");
  const std::vector<float> values = file.view().values<float>();
  Made made{std::move(saved.slots.front()),
            Tensor(DType::kF32, Shape(std::span<const std::int64_t>(file.view().shape)))};
  std::copy(values.begin(), values.end(), made.frames.as<float>());
  return made;
}

void expect_same(const Made& made, const Made& alone, double tolerance) {
  EXPECT_TRUE(all_close(made.latents, alone.latents, tolerance));
  EXPECT_TRUE(all_close(made.frames, alone.frames, tolerance));
}

// The VAE is in fp32 both times: frames are as close as the latents that they are made from.
TEST(Ranks, MakeTheLatentsAndFramesOfOne) {
  const TempFolder folder;
  for (const auto& [precision, tolerance] : {std::pair("fp32", kFp32), std::pair("bf16", kBf16)}) {
    const Made alone = make({}, precision, folder.path());
    for (int ranks = 2; ranks <= 4; ++ranks)
      for (const std::string halves : {"off", "on"}) {
        if (halves == "on" && ranks % 2 != 0) continue;
        SCOPED_TRACE(fmt::format("{}, {} ranks on {} GPUs, guidance parallel {}", precision, ranks,
                                 cuda_device_count(), halves));
        expect_same(make({ranks, halves}, precision, folder.path()), alone, tolerance);
      }
  }
}

TEST(Ranks, ExchangeThroughTheHost) {
  const TempFolder folder;
  const Made alone = make({}, "fp32", folder.path());
  for (const std::string halves : {"off", "on"})
    expect_same(make({2, halves, "off"}, "fp32", folder.path()), alone, kFp32);
}

}  // namespace
}  // namespace wan::test
