#include "backends/cuda/tuner.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

#include "backends/cuda/kernels/checksum.h"

namespace wan::cuda {

Tuner::Tuner(Allocator& allocator) : sum_(allocator, sizeof(unsigned long long)) {}

unsigned long long Tuner::checksum(cudaStream_t stream, const TensorView& out) {
  auto* const sum = reinterpret_cast<unsigned long long*>(sum_.data());
  WAN_CUDA(cudaMemsetAsync(sum, 0, sizeof *sum, stream));
  launch_checksum(stream, out, sum);
  WAN_CUDA(cudaMemcpyAsync(read_.data(), sum, sizeof *sum, cudaMemcpyDeviceToHost, stream));
  WAN_CUDA(cudaStreamSynchronize(stream));
  return *reinterpret_cast<const unsigned long long*>(read_.data());
}

int Tuner::choose(cudaStream_t stream, int count, const TensorView& out,
                  const std::function<bool(int)>& run) {
  // The first call of each candidate, which may load its code, is not timed.
  std::vector<std::optional<unsigned long long>> sums;
  for (int i = 0; i < count; ++i)
    sums.push_back(run(i) ? std::optional(checksum(stream, out)) : std::nullopt);
  std::optional<unsigned long long> common;
  std::ptrdiff_t most = 0;
  for (const auto& sum : sums) {
    const std::ptrdiff_t equal = sum ? std::count(sums.begin(), sums.end(), sum) : 0;
    if (equal <= most) continue;
    most = equal;
    common = sum;
  }
  int best = -1;
  float least = std::numeric_limits<float>::infinity();
  for (int i = 0; i < count; ++i) {
    if (!common || sums[static_cast<std::size_t>(i)] != common) continue;
    for (int repeat = 0; repeat < 2; ++repeat) {
      begin_.record(stream);
      run(i);
      end_.record(stream);
      const float milliseconds = end_.milliseconds_since(begin_);
      if (milliseconds < least) {
        least = milliseconds;
        best = i;
      }
      if (milliseconds > 1.2f * least) break;  // no second chance for what is far behind
    }
  }
  return best;
}

}  // namespace wan::cuda
