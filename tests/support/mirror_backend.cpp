#include "support/mirror_backend.h"

#include <algorithm>
#include <cstring>

namespace wan::test {

namespace {

constexpr std::size_t kAlignment = 256;  // what a device's allocator gives
constexpr std::size_t kFence = 1024;     // sentinels on each side
constexpr auto kNaNs = std::byte{0xff};  // as f32 or bf16, NaN: what is read there shows in sums

/// From a view's lowest element to past its highest. A view without elements has a place all the same.
struct Span {
  std::byte* begin;
  std::byte* end;
};

Span span_of(const TensorView& view) {
  if (is_packed(view.dtype())) return {view.data(), view.data() + view.bytes()};  // contiguous
  std::int64_t lowest = 0;
  std::int64_t highest = 0;
  for (int i = 0; i < view.rank(); ++i) {
    if (view.dim(i) == 0) return {view.data(), view.data() + 1};
    const std::int64_t last = (view.dim(i) - 1) * view.stride(i);
    (last < 0 ? lowest : highest) += last;
  }
  const auto size = static_cast<std::int64_t>(dtype_size(view.dtype()));
  return {view.data() + lowest * size, view.data() + (highest + 1) * size};
}

}  // namespace

void Mirror::add(const TensorView& view) {
  if (view.empty()) return;
  const Span span = span_of(view);
  Piece added{span.begin, span.end, {}, 0};
  for (std::size_t i = 0; i < pieces_.size();) {
    if (pieces_[i].begin < added.end && added.begin < pieces_[i].end) {
      added.begin = std::min(added.begin, pieces_[i].begin);
      added.end = std::max(added.end, pieces_[i].end);
      pieces_.erase(pieces_.begin() + static_cast<std::ptrdiff_t>(i));
      i = 0;  // the larger piece may touch one that was passed
    } else {
      ++i;
    }
  }
  pieces_.push_back(std::move(added));
}

void Mirror::upload() {
  for (Piece& piece : pieces_) {
    const auto bytes = static_cast<std::size_t>(piece.end - piece.begin);
    piece.offset = kFence + reinterpret_cast<std::uintptr_t>(piece.begin) % kAlignment;
    const auto total = static_cast<std::int64_t>(piece.offset + bytes + kFence);
    piece.device = Tensor(backend_.allocator(), DType::kU8, {total});
    const Tensor staged(DType::kU8, {total});
    std::fill_n(staged.view().data(), total, kNaNs);
    std::memcpy(staged.view().data() + piece.offset, piece.begin, bytes);
    backend_.upload(staged, piece.device);
  }
}

TensorView Mirror::on_device(const TensorView& view) const {
  if (view.empty()) return view;
  for (const Piece& piece : pieces_) {
    if (view.data() < piece.begin || view.data() >= piece.end) continue;
    std::byte* const data = piece.device.view().data() + piece.offset + (view.data() - piece.begin);
    return {data, view.dtype(), view.shape(), view.strides(), backend_.device()};
  }
  fail(ErrorCode::kInternal, "[mirror] a view was not added");
}

void Mirror::download() {
  for (const Piece& piece : pieces_) {
    const auto bytes = static_cast<std::size_t>(piece.end - piece.begin);
    const Tensor staged(DType::kU8, piece.device.shape());
    backend_.download(piece.device, staged);
    const std::byte* const data = staged.view().data();
    const bool whole = std::all_of(data, data + piece.offset, [](std::byte b) { return b == kNaNs; }) &&
                       std::all_of(data + piece.offset + bytes, data + staged.bytes(),
                                   [](std::byte b) { return b == kNaNs; });
    EXPECT_TRUE(whole) << "memory beside an argument was written on the device";
    std::memcpy(piece.begin, data + piece.offset, bytes);
  }
}

void MirrorBase::upload(const TensorView& host, const TensorView& device) {
  WAN_CHECK(host.is_contiguous() && device.is_contiguous() && host.dtype() == device.dtype() &&
                host.elements() == device.elements(),
            kInternal, "[mirror] expected contiguous views of one dtype and size");
  if (host.bytes() > 0) std::memmove(device.data(), host.data(), host.bytes());
}

MirrorBackend::MirrorBackend(Backend& inner) : OverEveryOp(inner) {}

MirrorBackend::~MirrorBackend() = default;

}  // namespace wan::test
