#pragma once
// Gaussian noise equal to PyTorch's torch.randn, so that a seed gives the official video.
//
//   torch-cpu   torch.Generator("cpu"): Mersenne Twister 19937. As there, only the lower 32 bits of a seed
//               count.
//   torch-cuda  torch.Generator("cuda"): Philox4x32-10. Which value lands where depends on the launch grid
//               once a tensor has more values than the GPU has threads, so the grid is part of the
//               specification.
//
// The integers under the normals are exact. The normals agree within 2e-6 (torch-cpu, which PyTorch
// computes with vector approximations of log, sin and cos) and 4e-6 (torch-cuda, whose kernels use the
// GPU's fast sine and cosine), absolute.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace wan {

enum class RandomKind { kTorchCpu, kTorchCuda };

/// What PyTorch asks of a GPU before it launches a random kernel: cudaDeviceProp's
/// multiProcessorCount and maxThreadsPerMultiProcessor.
struct CudaLaunchGrid {
  int multiprocessors;
  int threads_per_multiprocessor;
  bool operator==(const CudaLaunchGrid&) const = default;
};

/// H100 SXM and H200. What `torch-cuda` without a grid means where no GPU says otherwise.
inline constexpr CudaLaunchGrid kDefaultCudaGrid{132, 2048};

struct RandomSpec {
  RandomKind kind = RandomKind::kTorchCpu;
  CudaLaunchGrid grid = kDefaultCudaGrid;  // of kTorchCuda only
  bool operator==(const RandomSpec&) const = default;
};

/// torch-cpu | torch-cuda | torch-cuda:SMSxTHREADS (torch-cuda:84x1536) | torch-cuda:GPU
/// (torch-cuda:RTX 4090). A GPU's name is taken in upper or lower case, with or without "NVIDIA" and
/// "GeForce", with spaces, dashes or underscores; `torch-cuda` alone takes `default_grid`. Throws
/// InvalidArgument with what is known otherwise.
RandomSpec parse_random_spec(std::string_view text, const CudaLaunchGrid& default_grid = kDefaultCudaGrid);

/// "torch-cpu" or "torch-cuda:132x2048": the grid is always stated. parse_random_spec() reads it back.
std::string format_random_spec(const RandomSpec& spec);

/// One stream of random numbers; each call goes on where the last one ended, as with one torch.Generator.
class RandomGenerator {
 public:
  virtual ~RandomGenerator() = default;
  /// Fills `out` as torch.randn(shape, generator=g, dtype=torch.float32) does a new tensor of out.size()
  /// values, in memory order. At most 2^31 - 1 values a call for kTorchCuda (PyTorch splits larger
  /// tensors); throws InvalidArgument beyond.
  virtual void normal(std::span<float> out) = 0;
};

/// `seed`: 0 to 2^63 - 1; throws InvalidArgument for a negative one. `offset`: of kTorchCuda, where in the seed's stream to begin,
/// which is the sum of cuda_random_calls() over the draws before it, here or on a GPU; 0 for kTorchCpu (Internal otherwise), whose
/// stream goes on in its generator alone.
std::unique_ptr<RandomGenerator> make_random_generator(const RandomSpec& spec, std::int64_t seed,
                                                       std::uint64_t offset = 0);

/// By how much a kTorchCuda draw of `count` values moves its stream on: PyTorch's philox_offset over 4.
std::uint64_t cuda_random_calls(const CudaLaunchGrid& grid, std::int64_t count);

}  // namespace wan
