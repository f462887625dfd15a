#include "ops/dispatch.h"

namespace wan {

void ExecContext::check_cancelled() const {
  communicator.check();
  WAN_CHECK(cancelled == nullptr || !cancelled->load(std::memory_order_relaxed), kCancelled,
            "stopped on request");
}

void ExecContext::check_cancelled_together() const {
  check_cancelled();
  if (communicator.size() == 1) return;
  WAN_CHECK(!agree(cancelled_together != nullptr && cancelled_together->load()), kCancelled,
            "stopped on request");
}

bool ExecContext::agree(bool answer) const {
  if (communicator.size() == 1) return answer;
  const Tensor word(DType::kF32, {1});
  *word.as<float>() = answer ? 1.0f : 0.0f;
  const Tensor shared(backend.allocator(), DType::kF32, word.shape());
  backend.upload(word, shared);
  communicator.broadcast(shared, 0);
  backend.download(shared, word);
  communicator.check();  // or it is not rank 0's
  return *word.as<float>() != 0.0f;
}

void fail_unsupported(const ExecContext& ctx, const char* op) {
  fail(ErrorCode::kUnsupported, "[{}] the {} backend has no kernel for these arguments", op,
       ctx.backend.name());
}

void check_shape(const char* op, const char* argument, const TensorView& view, const Shape& expected) {
  WAN_CHECK(!view.empty(), kInternal, "[{}] {} is missing", op, argument);
  WAN_CHECK(view.shape() == expected, kInternal, "[{}] expected {} of shape {}, got {}", op, argument,
            expected.to_string(), view.shape().to_string());
}

void check_rank(const char* op, const char* argument, const TensorView& view, int rank) {
  WAN_CHECK(!view.empty() && view.rank() == rank, kInternal, "[{}] expected {} with {} dimensions, got {}",
            op, argument, rank, view.empty() ? "nothing" : view.shape().to_string());
}

void check_activation_dtype(const char* op, const char* argument, const TensorView& view) {
  WAN_CHECK(view.dtype() == DType::kF32 || view.dtype() == DType::kBF16, kInternal,
            "[{}] expected {} in f32 or bf16, got {}", op, argument, dtype_name(view.dtype()));
}

void check_inner_contiguous(const char* op, const char* argument, const TensorView& view) {
  WAN_CHECK(view.dim(-1) <= 1 || view.stride(view.rank() - 1) == 1, kInternal,
            "[{}] the last dimension of {} must be contiguous", op, argument);
}

std::vector<double> load_elements(const TensorView& view) {
  std::vector<double> elements;
  elements.reserve(static_cast<std::size_t>(view.elements()));
  const auto append = [&](const auto& self, const TensorView& part) -> void {
    for (std::int64_t i = 0; i < part.dim(0); ++i)
      if (part.rank() == 1)
        elements.push_back(load_element(part, {i}));
      else
        self(self, part.select(0, i));
  };
  append(append, view.is_contiguous() ? view.reshape({view.elements()}) : view);
  return elements;
}

double dot_product(const double* a, const double* b, std::int64_t n) {
  double first = 0.0;
  double second = 0.0;
  double third = 0.0;
  double fourth = 0.0;
  std::int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    first += a[i] * b[i];
    second += a[i + 1] * b[i + 1];
    third += a[i + 2] * b[i + 2];
    fourth += a[i + 3] * b[i + 3];
  }
  for (; i < n; ++i) first += a[i] * b[i];
  return (first + second) + (third + fourth);
}

void fail_element(const TensorView& view, std::size_t indexes) {
  WAN_ASSERT(static_cast<int>(indexes) == view.rank());
  fail(ErrorCode::kInternal, "[element] {} is not floating point", dtype_name(view.dtype()));
}

}  // namespace wan
