#include "ops/patchify.h"

#include "ops/dispatch.h"

namespace wan {

namespace {

void check_arguments(const char* op, const TensorView& latent, const PatchSize& patch,
                     const TensorView& tokens, std::int64_t first_token) {
  check_rank(op, "latent", latent, 4);
  check_rank(op, "tokens", tokens, 2);
  WAN_CHECK(latent.dtype() == DType::kF32 && latent.is_contiguous(), kInternal,
            "[{}] latent must be contiguous f32", op);
  check_activation_dtype(op, "tokens", tokens);
  check_inner_contiguous(op, "tokens", tokens);
  std::int64_t count = 1;
  std::int64_t width = latent.dim(0);
  for (int i = 0; i < 3; ++i) {
    const int extent = patch[static_cast<std::size_t>(i)];
    WAN_CHECK(extent >= 1 && latent.dim(i + 1) % extent == 0, kInternal,
              "[{}] latent {} is not a multiple of the patch", op, latent.shape().to_string());
    count *= latent.dim(i + 1) / extent;
    width *= extent;
  }
  WAN_CHECK(tokens.dim(1) == width && first_token >= 0 && first_token + tokens.dim(0) <= count, kInternal,
            "[{}] tokens {} from {} do not fit {} tokens of width {}", op, tokens.shape().to_string(),
            first_token, count, width);
}

/// Calls visit(row, column in the patch ((a ph + b) pw + d), channel, latent coordinates) for every element.
template <typename Visit>
void for_each_element(const TensorView& latent, const PatchSize& patch, const TensorView& tokens,
                      std::int64_t first_token, Visit&& visit) {
  const std::int64_t rows = latent.dim(2) / patch[1];
  const std::int64_t columns = latent.dim(3) / patch[2];
  for (std::int64_t row = 0; row < tokens.dim(0); ++row) {
    const std::int64_t n = first_token + row;
    const std::int64_t f = n / (rows * columns) * patch[0];
    const std::int64_t y = n / columns % rows * patch[1];
    const std::int64_t x = n % columns * patch[2];
    for (std::int64_t c = 0; c < latent.dim(0); ++c)
      for (int a = 0; a < patch[0]; ++a)
        for (int b = 0; b < patch[1]; ++b)
          for (int d = 0; d < patch[2]; ++d)
            visit(row, (a * patch[1] + b) * patch[2] + d, c, f + a, y + b, x + d);
  }
}

}  // namespace

void validate(const PatchifyArgs& args) {
  check_arguments("patchify", args.latent, args.patch, args.tokens, args.first_token);
}

void reference(const PatchifyArgs& args) {
  const std::int64_t volume = static_cast<std::int64_t>(args.patch[0]) * args.patch[1] * args.patch[2];
  for_each_element(
      args.latent, args.patch, args.tokens, args.first_token,
      [&](auto row, auto inner, auto c, auto f, auto y, auto x) {
        store_element(args.tokens, {row, c * volume + inner}, load_element(args.latent, {c, f, y, x}));
      });
}

void patchify(ExecContext& ctx, const PatchifyArgs& args) {
  validate(args);
  dispatch(ctx, "patchify", args);
}

void validate(const UnpatchifyArgs& args) {
  check_arguments("unpatchify", args.latent, args.patch, args.tokens, args.first_token);
}

void reference(const UnpatchifyArgs& args) {
  const std::int64_t channels = args.latent.dim(0);
  for_each_element(
      args.latent, args.patch, args.tokens, args.first_token,
      [&](auto row, auto inner, auto c, auto f, auto y, auto x) {
        store_element(args.latent, {c, f, y, x}, load_element(args.tokens, {row, inner * channels + c}));
      });
}

void unpatchify(ExecContext& ctx, const UnpatchifyArgs& args) {
  validate(args);
  dispatch(ctx, "unpatchify", args);
}

}  // namespace wan
