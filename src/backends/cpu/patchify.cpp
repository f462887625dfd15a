#include "ops/patchify.h"

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/parallel_for.h"

namespace wan {

namespace {

float get(const float& value) {
  return value;
}
float get(const BF16& value) {
  return to_float(value);
}
void put(float& to, float value) {
  to = value;
}
void put(BF16& to, float value) {
  to = to_bf16(value);
}

/// Where a patch lies in the latent, and its strides there.
struct PatchWalk {
  std::int64_t rows, columns;         // patches in a frame
  std::int64_t channel, frame, line;  // strides of the latent
  std::int64_t channels;
  PatchSize patch;

  PatchWalk(const TensorView& latent, const PatchSize& size)
      : rows(latent.dim(2) / size[1]),
        columns(latent.dim(3) / size[2]),
        channel(latent.dim(1) * latent.dim(2) * latent.dim(3)),
        frame(latent.dim(2) * latent.dim(3)),
        line(latent.dim(3)),
        channels(latent.dim(0)),
        patch(size) {}

  /// Offset of token n's first element.
  std::int64_t origin(std::int64_t n) const {
    return n / (rows * columns) * patch[0] * frame + n / columns % rows * patch[1] * line +
           n % columns * patch[2];
  }

  /// visit(offset from the origin, channel, position in the patch) for every element of a patch.
  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (std::int64_t c = 0; c < channels; ++c) {
      std::int64_t inner = 0;
      for (int a = 0; a < patch[0]; ++a)
        for (int b = 0; b < patch[1]; ++b)
          for (int d = 0; d < patch[2]; ++d) visit(c * channel + a * frame + b * line + d, c, inner++);
    }
  }
};

template <typename T>
void patchify_rows(int threads, const PatchifyArgs& args) {
  const PatchWalk walk(args.latent, args.patch);
  const std::int64_t volume = static_cast<std::int64_t>(args.patch[0]) * args.patch[1] * args.patch[2];
  for_each_row(threads, args.tokens.dim(0), args.tokens.dim(1), [&](std::int64_t row) {
    const float* from = args.latent.as<float>() + walk.origin(args.first_token + row);
    T* to = args.tokens.as<T>() + row * args.tokens.stride(0);
    walk.for_each([&](std::int64_t offset, std::int64_t c, std::int64_t inner) {
      put(to[c * volume + inner], from[offset]);
    });
  });
}

template <typename T>
void unpatchify_rows(int threads, const UnpatchifyArgs& args) {
  const PatchWalk walk(args.latent, args.patch);
  for_each_row(threads, args.tokens.dim(0), args.tokens.dim(1), [&](std::int64_t row) {
    float* to = args.latent.as<float>() + walk.origin(args.first_token + row);
    const T* from = args.tokens.as<T>() + row * args.tokens.stride(0);
    walk.for_each([&](std::int64_t offset, std::int64_t c, std::int64_t inner) {
      to[offset] = get(from[inner * walk.channels + c]);
    });
  });
}

}  // namespace

bool has_kernel(const CpuBackend&, const PatchifyArgs&) {
  return true;
}
bool has_kernel(const CpuBackend&, const UnpatchifyArgs&) {
  return true;
}

void run_kernel(CpuBackend& cpu, ExecContext&, const PatchifyArgs& args) {
  if (args.tokens.dtype() == DType::kF32) return patchify_rows<float>(cpu.threads(), args);
  patchify_rows<BF16>(cpu.threads(), args);
}

void run_kernel(CpuBackend& cpu, ExecContext&, const UnpatchifyArgs& args) {
  if (args.tokens.dtype() == DType::kF32) return unpatchify_rows<float>(cpu.threads(), args);
  unpatchify_rows<BF16>(cpu.threads(), args);
}

}  // namespace wan
