#include "ops/unpack.h"

#include <algorithm>

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/conversion.h"
#include "backends/cpu/parallel_for.h"
#include "tensor/unpack.h"

namespace wan {

bool has_kernel(const CpuBackend&, const UnpackArgs&) {
  return true;
}

/// Rows follow one another, so that threads divide runs of blocks.
void run_kernel(CpuBackend& cpu, ExecContext&, const UnpackArgs& args) {
  static_assert(kChunk % 256 == 0);  // what every format's blocks and runs divide
  const auto block_values = static_cast<std::int64_t>(values_per_block(args.packed.dtype()));
  const auto block_bytes = static_cast<std::int64_t>(bytes_per_block(args.packed.dtype()));
  const auto unpack = cpu.kernels().unpack[format_index(args.packed.dtype())];
  const auto* packed = reinterpret_cast<const std::uint8_t*>(args.packed.data());
  const std::int64_t count = args.out.elements();
  parallel_for(useful_threads(cpu.threads(), count), count, kChunk,
               [&](std::int64_t begin, std::int64_t end) {
                 float values[kChunk];
                 for (; begin < end; begin += kChunk) {
                   const std::int64_t n = std::min(kChunk, end - begin);
                   write_row(cpu.kernels(), args.out, begin, n, values, [&](float* out) {
                     unpack(packed + begin / block_values * block_bytes, out, n / block_values);
                   });
                 }
               });
}

}  // namespace wan
