// The normals against values that PyTorch drew on a GPU (tests/golden/random): the same bits.

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "diffusion/random.h"
#include "gpu/device_values.h"
#include "json/strict_json.h"
#include "support/golden.h"
#include "weights/safetensors.h"

namespace wan::test {
namespace {

template <typename T>
std::vector<T> values_of(const TensorEntry& entry) {
  WAN_ASSERT(entry.dtype == dtype_of<T>());
  std::vector<T> values(entry.elements());
  std::memcpy(values.data(), entry.storage.data(), entry.storage.size());
  return values;
}

TEST(GpuRandom, EqualsPyTorchBitForBit) {
  const nlohmann::json facts = read_json_file(golden_path("random/torch_cuda_randn.json"), 8);
  const MappedFile mapped(golden_path("random/torch_cuda_randn.safetensors"));
  std::map<std::string, TensorEntry> tensors;
  for (const TensorEntry& entry : parse_safetensors(mapped.bytes(), "torch_cuda_randn.safetensors").tensors)
    tensors.emplace(entry.name, entry);
  const CudaLaunchGrid grid{facts["multiprocessors"], facts["threads_per_multiprocessor"]};
  GpuContext gpu;
  std::int64_t compared = 0;
  std::int64_t different = 0;
  for (const std::uint64_t seed : facts["seeds"])
    for (const std::int64_t count : facts["counts"]) {
      const std::string n = std::to_string(count);
      const auto indices = values_of<std::int32_t>(tensors.at("index_" + n));
      std::uint64_t offset = 0;
      for (int draw = 0; draw < facts["draws"]; ++draw) {
        const Tensor out = gpu.empty(DType::kF32, {count});
        gpu.backend->draw_cuda_normals({.seed = seed,
                                        .multiprocessors = grid.multiprocessors,
                                        .threads_per_multiprocessor = grid.threads_per_multiprocessor,
                                        .out = out,
                                        .offset = offset});
        offset += cuda_random_calls(grid, count);
        const Tensor values = gpu.on_host(out);
        const std::string name = "seed_" + std::to_string(seed) + "_n_" + n + "_draw_" + std::to_string(draw);
        const auto expected = values_of<float>(tensors.at(name));
        for (std::size_t i = 0; i < indices.size(); ++i, ++compared) {
          const float value = values.as<float>()[indices[i]];
          different += std::memcmp(&value, &expected[i], sizeof value) != 0 ? 1 : 0;
          EXPECT_NEAR(value, expected[i], 4e-6) << name << ", value " << indices[i];
        }
      }
    }
  EXPECT_GT(compared, 3000);
  EXPECT_EQ(different, 0) << "of " << compared;
}

}  // namespace
}  // namespace wan::test
