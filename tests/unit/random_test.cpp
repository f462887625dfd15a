#include "diffusion/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "diffusion/philox.h"
#include "json/strict_json.h"

namespace wan {
namespace {

using nlohmann::json;

std::vector<float> draw(RandomGenerator& generator, std::size_t count) {
  // NaN shows values that were never written.
  std::vector<float> values(count, std::nanf(""));
  generator.normal(values);
  return values;
}

// PyTorch computes blocks of 16 with vector approximations of log, sin and cos: 2e-6 absolute is the promise.
// A wrong engine, order or tail is off by about 1.
TEST(RandomTest, TorchCpuEqualsPyTorch) {
  const json golden = read_json_file(WAN_GOLDEN_DIR "/diffusion/random_cpu.json", 8);
  int draws = 0;
  for (const json& sequence : golden["cases"]) {
    const std::int64_t seed = std::stoll(sequence["seed"].get<std::string>());
    const auto generator = make_random_generator({RandomKind::kTorchCpu}, seed);
    for (const json& expected : sequence["draws"]) {
      const std::size_t count = expected["n"];
      const std::vector<float> values = draw(*generator, count);
      for (std::size_t i = 0; i < expected["indices"].size(); ++i) {
        const std::size_t index = expected["indices"][i];
        ASSERT_NEAR(values[index], expected["values"][i].get<double>(), 2e-6)
            << "seed " << seed << ", draw of " << count << ", value " << index;
      }
      double sum = 0.0;
      for (const float value : values) sum += value;
      EXPECT_NEAR(sum, expected["sum"].get<double>(), 2e-7 * static_cast<double>(count)) << "seed " << seed;
      ++draws;
    }
  }
  EXPECT_EQ(draws, 9 + 7 + 3 * 4);
}

// Known-answer vectors of Random123 (kat_vectors, philox 4x32 10).
TEST(RandomTest, PhiloxKnownAnswers) {
  EXPECT_EQ(philox4x32_10({0, 0, 0, 0}, {0, 0}),
            (PhiloxCounter{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}));
  EXPECT_EQ(philox4x32_10({0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu}, {0xffffffffu, 0xffffffffu}),
            (PhiloxCounter{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}));
  EXPECT_EQ(philox4x32_10({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u}),
            (PhiloxCounter{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}));
}

// What torch.randn(..., device="cuda") prints after torch.manual_seed(), to four decimals, in public
// notebooks and issues; these draws lie within one wave of every GPU.
TEST(RandomTest, TorchCudaEqualsPrintedValues) {
  struct Printed {
    std::int64_t seed;
    std::vector<std::vector<float>> draws;
  };
  const Printed printed[] = {
      {0, {{-0.9247F, -0.4253F, -2.6438F, 0.1452F, -0.1209F, -0.5797F, -0.6229F, -0.3284F}}},
      {42, {{0.1940F, 2.1614F, -0.1721F, 0.8491F, -1.9244F, 0.6530F, -0.6494F, -0.8175F}}},
      {42,
       {{0.1940F, 2.1614F, -0.1721F, 0.8491F},
        {0.1391F, -0.1082F, -0.7174F, 0.7566F},
        {-0.5187F, 1.2268F, 0.6255F, -0.9117F}}},
  };
  for (const auto& [seed, draws] : printed) {
    const auto generator = make_random_generator({RandomKind::kTorchCuda}, seed);
    for (const std::vector<float>& expected : draws) {
      const std::vector<float> values = draw(*generator, expected.size());
      for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(values[i], expected[i], 5.5e-5) << seed;
    }
  }
}

// The kernel as it is launched: blocks and threads, each with a cuRAND state of its own, in a grid-stride
// loop that runs the same number of turns in every thread.
class KernelSimulation {
 public:
  KernelSimulation(CudaLaunchGrid device, std::uint64_t seed) : device_(device), seed_(seed) {}

  std::vector<float> launch(std::uint64_t numel) {
    const std::uint64_t block = 256;
    const std::uint64_t grid = std::min<std::uint64_t>(
        static_cast<std::uint64_t>(device_.multiprocessors) * (device_.threads_per_multiprocessor / 256),
        (numel + block - 1) / block);
    std::vector<float> out(numel, std::nanf(""));
    const std::uint64_t stride = block * grid;
    const std::uint64_t rounded = ((numel - 1) / (stride * 4) + 1) * stride * 4;
    for (std::uint64_t block_index = 0; block_index < grid; ++block_index) {
      for (std::uint64_t thread = 0; thread < block; ++thread) {
        const std::uint64_t subsequence = block_index * block + thread;
        std::uint64_t position = offset_ / 4;
        for (std::uint64_t linear = subsequence; linear < rounded; linear += stride * 4) {
          const PhiloxCounter bits = philox4x32_10(
              {static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(position >> 32),
               static_cast<std::uint32_t>(subsequence), static_cast<std::uint32_t>(subsequence >> 32)},
              {static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32)});
          const auto low = curand_box_muller(bits[0], bits[1]);
          const auto high = curand_box_muller(bits[2], bits[3]);
          const float normals[] = {low[0], low[1], high[0], high[1]};
          for (std::uint64_t i = 0; i < 4; ++i) {
            if (linear + stride * i < numel) out[linear + stride * i] = normals[i];
          }
          ++position;
        }
      }
    }
    offset_ += ((numel - 1) / (stride * 4) + 1) * 4;
    return out;
  }

 private:
  CudaLaunchGrid device_;
  std::uint64_t seed_;
  std::uint64_t offset_ = 0;
};

// Same functions under both, so the values are equal to the bit where the indices are.
TEST(RandomTest, TorchCudaFollowsTheKernelForAnyGrid) {
  const CudaLaunchGrid grids[] = {{1, 256}, {1, 1024}, {3, 1536}, {7, 2048}, {2, 700}, {132, 2048}};
  for (const CudaLaunchGrid& grid : grids) {
    for (const std::int64_t seed : {std::int64_t{0}, std::int64_t{42}, std::int64_t{0x123456789abcdef}}) {
      KernelSimulation kernel(grid, static_cast<std::uint64_t>(seed));
      const auto generator = make_random_generator({RandomKind::kTorchCuda, grid}, seed);
      for (const std::size_t count : {1, 7, 255, 256, 257, 1000, 1024, 1025, 5000, 40961, 3, 100000}) {
        ASSERT_EQ(draw(*generator, count), kernel.launch(count))
            << grid.multiprocessors << "x" << grid.threads_per_multiprocessor << ", seed " << seed << ", "
            << count;
      }
    }
  }
}

// What several generators draw one after another, each from where the one before it stopped, is one stream.
TEST(RandomTest, TorchCudaGoesOnFromAnOffset) {
  for (const CudaLaunchGrid grid : {CudaLaunchGrid{1, 256}, {3, 1536}, kDefaultCudaGrid}) {
    const auto whole = make_random_generator({RandomKind::kTorchCuda, grid}, 42);
    std::uint64_t offset = 0;
    for (const std::size_t count : {5, 1025, 0, 40961, 3}) {
      const auto part = make_random_generator({RandomKind::kTorchCuda, grid}, 42, offset);
      ASSERT_EQ(draw(*part, count), draw(*whole, count)) << count << " values from " << offset;
      offset += cuda_random_calls(grid, static_cast<std::int64_t>(count));
    }
  }
  EXPECT_EQ(cuda_random_calls({1, 256}, 1024), 1u);
  EXPECT_EQ(cuda_random_calls({1, 256}, 1025), 2u);
  EXPECT_EQ(cuda_random_calls({2, 256}, 1025), 1u);
  EXPECT_EQ(cuda_random_calls({2, 256}, 0), 0u);
  EXPECT_NO_THROW(make_random_generator({RandomKind::kTorchCpu}, 42, 0));
  EXPECT_THROW(make_random_generator({RandomKind::kTorchCpu}, 42, 1), Error);
}

// Within one wave of a smaller GPU, the noise of all GPUs is the same; beyond it, it is not.
TEST(RandomTest, TheGridMattersOnlyBeyondOneWave) {
  const CudaLaunchGrid small{2, 512};
  const auto values = [](CudaLaunchGrid grid, std::size_t count) {
    return draw(*make_random_generator({RandomKind::kTorchCuda, grid}, 7), count);
  };
  EXPECT_EQ(values(small, 1024), values(kDefaultCudaGrid, 1024));
  EXPECT_NE(values(small, 1025), values(kDefaultCudaGrid, 1025));
}

TEST(RandomTest, NormalsHaveUnitVariance) {
  for (const RandomSpec& spec : {RandomSpec{}, RandomSpec{RandomKind::kTorchCuda, {84, 1536}}}) {
    const std::vector<float> values = draw(*make_random_generator(spec, 3), 200000);
    double sum = 0.0;
    double squares = 0.0;
    for (const float value : values) {
      sum += value;
      squares += static_cast<double>(value) * value;
    }
    // Five standard errors of 200,000 values: 1 / sqrt(n) and sqrt(2 / n).
    EXPECT_NEAR(sum / 200000, 0.0, 5 * 0.00224);
    EXPECT_NEAR(squares / 200000, 1.0, 5 * 0.00317);
  }
}

TEST(RandomTest, ExtremeIntegersGiveFiniteNormals) {
  for (const std::uint32_t x : {0u, 1u, 0x7fffffffu, 0xffffffffu}) {
    for (const std::uint32_t y : {0u, 0xffffffffu}) {
      const auto [sine, cosine] = curand_box_muller(x, y);
      EXPECT_TRUE(std::isfinite(sine) && std::isfinite(cosine)) << x << " " << y;
    }
  }
}

TEST(RandomTest, EmptyDrawsChangeNothing) {
  for (const RandomKind kind : {RandomKind::kTorchCpu, RandomKind::kTorchCuda}) {
    const auto one = make_random_generator({kind}, 1);
    const auto two = make_random_generator({kind}, 1);
    draw(*one, 0);
    EXPECT_EQ(draw(*one, 50), draw(*two, 50));
  }
}

TEST(RandomTest, ParsesSpecifications) {
  EXPECT_EQ(parse_random_spec("torch-cpu").kind, RandomKind::kTorchCpu);
  EXPECT_EQ(parse_random_spec("torch-cuda"), (RandomSpec{RandomKind::kTorchCuda, {132, 2048}}));
  EXPECT_EQ(parse_random_spec("torch-cuda", {84, 1536}).grid, (CudaLaunchGrid{84, 1536}));
  EXPECT_EQ(parse_random_spec("torch-cuda:84x1536").grid, (CudaLaunchGrid{84, 1536}));
  EXPECT_EQ(parse_random_spec("torch-cuda:A40").grid, (CudaLaunchGrid{84, 1536}));
  EXPECT_EQ(parse_random_spec("torch-cuda:NVIDIA GeForce RTX 4090").grid, (CudaLaunchGrid{128, 1536}));
  EXPECT_EQ(parse_random_spec("torch-cuda:rtx_3090").grid, (CudaLaunchGrid{82, 1536}));
  EXPECT_EQ(parse_random_spec("torch-cuda:NVIDIA H100 80GB HBM3").grid, (CudaLaunchGrid{132, 2048}));
  EXPECT_EQ(parse_random_spec("torch-cuda:h100-pcie").grid, (CudaLaunchGrid{114, 2048}));
  EXPECT_EQ(parse_random_spec("torch-cuda:Tesla T4").grid, (CudaLaunchGrid{40, 1024}));
}

TEST(RandomTest, FormatsWhatItParses) {
  EXPECT_EQ(format_random_spec({}), "torch-cpu");
  EXPECT_EQ(format_random_spec(parse_random_spec("torch-cuda")), "torch-cuda:132x2048");
  for (const char* text : {"torch-cpu", "torch-cuda:A100", "torch-cuda:L4", "torch-cuda:7x256"}) {
    const RandomSpec spec = parse_random_spec(text);
    EXPECT_EQ(parse_random_spec(format_random_spec(spec)), spec);
  }
}

TEST(RandomTest, RefusesUnknownSpecifications) {
  for (const char* text :
       {"", "cpu", "torch", "torch-cudaA40", "torch-cpu:A40", "torch-cuda:", "torch-cuda:RTX 9999",
        "torch-cuda:0x2048", "torch-cuda:132x255", "torch-cuda:-1x2048", "torch-cuda:132x", "torch-cuda:x",
        "torch-cuda:132x2048x1", "torch-cuda:99999999999x2048", "TORCH-CPU"}) {
    EXPECT_THROW(parse_random_spec(text), Error) << text;
  }
  try {
    parse_random_spec("torch-cuda:RTX 9999");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    const std::string message = error.what();
    EXPECT_NE(message.find("RTX 4090"), std::string::npos);
    EXPECT_NE(message.find("torch-cuda:132x2048"), std::string::npos);
  }
}

TEST(RandomTest, RefusesImpossibleGenerators) {
  EXPECT_THROW(make_random_generator({}, -1), Error);
  EXPECT_THROW(make_random_generator({RandomKind::kTorchCuda, {0, 2048}}, 1), Error);
  EXPECT_THROW(make_random_generator({RandomKind::kTorchCuda, {132, 128}}, 1), Error);
}

}  // namespace
}  // namespace wan
