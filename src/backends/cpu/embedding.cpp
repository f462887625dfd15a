#include "ops/embedding.h"

#include <cstring>

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/conversion.h"
#include "backends/cpu/parallel_for.h"

namespace wan {

bool has_kernel(const CpuBackend&, const EmbeddingArgs&) {
  return true;
}

void run_kernel(CpuBackend& cpu, ExecContext&, const EmbeddingArgs& args) {
  const std::int64_t width = args.table.dim(1);
  const std::size_t bytes = static_cast<std::size_t>(width) * dtype_size(args.table.dtype());
  for_each_row(cpu.threads(), args.out.dim(0), width, [&](std::int64_t row) {
    const std::int64_t id = args.ids[static_cast<std::size_t>(row)];
    if (args.table.dtype() == args.out.dtype())
      std::memcpy(args.out.data() + static_cast<std::size_t>(row) * bytes,
                  args.table.data() + static_cast<std::size_t>(id) * bytes, bytes);
    else if (args.table.dtype() == DType::kBF16)
      cpu.kernels().bf16_to_f32(bf16_bits(args.table) + id * width, args.out.as<float>() + row * width,
                                width);
    else
      cpu.kernels().f32_to_bf16(args.table.as<float>() + id * width, bf16_bits(args.out) + row * width,
                                width);
  });
}

}  // namespace wan
