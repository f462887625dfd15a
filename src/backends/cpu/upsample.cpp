#include "ops/upsample.h"

#include <cstring>

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/parallel_for.h"

namespace wan {

bool has_kernel(const CpuBackend&, const UpsampleArgs&) {
  return true;
}

void run_kernel(CpuBackend& cpu, ExecContext&, const UpsampleArgs& args) {
  const std::int64_t width = args.x.dim(2);
  const std::size_t pixel = static_cast<std::size_t>(args.x.dim(3)) * dtype_size(args.x.dtype());
  const std::size_t row = static_cast<std::size_t>(width) * pixel;
  const std::int64_t height = args.x.dim(1);
  // One input row of any frame gives two equal output rows.
  for_each_row(cpu.threads(), args.x.dim(0) * args.x.dim(1), 4 * width * args.x.dim(3), [&](std::int64_t r) {
    const std::byte* from = args.x.data() + static_cast<std::size_t>(r) * row;
    const TensorView rows = args.out.select(0, r / height);
    std::byte* to = rows.select(0, 2 * (r % height)).data();
    for (std::int64_t i = 0; i < width; ++i, from += pixel) {
      std::byte* twice = to + static_cast<std::size_t>(2 * i) * pixel;
      std::memcpy(twice, from, pixel);
      std::memcpy(twice + pixel, from, pixel);
    }
    std::memcpy(rows.select(0, 2 * (r % height) + 1).data(), to, 2 * row);
  });
}

}  // namespace wan
