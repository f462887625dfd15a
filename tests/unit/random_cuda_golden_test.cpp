// TorchCudaRandom against values of a real GPU: tests/golden/random, made by tools/golden/dump_cuda_randn.py.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"
#include "diffusion/random.h"
#include "json/strict_json.h"
#include "weights/safetensors.h"

namespace wan {
namespace {

constexpr const char* kRandomFolder = WAN_GOLDEN_DIR "/random/";

template <typename T>
std::vector<T> values_of(const TensorEntry& entry) {
  WAN_ASSERT(entry.dtype == dtype_of<T>());
  std::vector<T> values(entry.elements());
  std::memcpy(values.data(), entry.storage.data(), entry.storage.size());
  return values;
}

// Two draws of each size from one generator. The largest, a 720p latent, is beyond one wave of the GPU, so that its grid
// decides the order. 4e-6 absolute: the GPU's fast sine and cosine are off by up to 5e-7 or so, times a radius of up to
// 6.7. A value in the wrong place is off by about 1.
TEST(RandomCudaGoldenTest, EqualsPyTorchOnItsGpu) {
  const nlohmann::json facts = read_json_file(std::string(kRandomFolder) + "torch_cuda_randn.json", 8);
  const CudaLaunchGrid grid{facts["multiprocessors"], facts["threads_per_multiprocessor"]};
  EXPECT_EQ(parse_random_spec("torch-cuda:" + facts["gpu"].get<std::string>()).grid, grid);

  const MappedFile mapped(std::string(kRandomFolder) + "torch_cuda_randn.safetensors");
  std::map<std::string, TensorEntry> tensors;
  for (const TensorEntry& entry : parse_safetensors(mapped.bytes(), "torch_cuda_randn.safetensors").tensors) {
    tensors.emplace(entry.name, entry);
  }
  double worst = 0.0;
  int compared = 0;
  bool beyond_one_wave = false;
  for (const std::int64_t seed : facts["seeds"]) {
    for (const std::size_t count : facts["counts"]) {
      beyond_one_wave =
          beyond_one_wave || count > 4u * grid.multiprocessors * grid.threads_per_multiprocessor;
      const auto generator = make_random_generator({RandomKind::kTorchCuda, grid}, seed);
      const std::string n = std::to_string(count);
      const auto indices = values_of<std::int32_t>(tensors.at("index_" + n));
      for (int number = 0; number < facts["draws"]; ++number) {
        std::vector<float> values(count, std::nanf(""));
        generator->normal(values);
        const std::string name =
            "seed_" + std::to_string(seed) + "_n_" + n + "_draw_" + std::to_string(number);
        const auto expected = values_of<float>(tensors.at(name));
        ASSERT_EQ(expected.size(), indices.size());
        for (std::size_t i = 0; i < indices.size(); ++i, ++compared) {
          const double error = std::fabs(static_cast<double>(values.at(indices[i])) - expected[i]);
          worst = std::max(worst, error);
          // Written so that a NaN fails.
          ASSERT_TRUE(error <= 4e-6) << name << ", value " << indices[i] << ": " << values[indices[i]]
                                     << " against " << expected[i];
        }
      }
    }
  }
  EXPECT_TRUE(beyond_one_wave);
  EXPECT_GT(compared, 3000);
  RecordProperty("worst", testing::PrintToString(worst));
}

}  // namespace
}  // namespace wan
