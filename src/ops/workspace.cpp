#include "ops/workspace.h"

#include <algorithm>

namespace wan {

namespace {
constexpr std::size_t kAlignment = 64;
constexpr std::size_t kSmallestChunk = std::size_t{1} << 20;
}  // namespace

Workspace::Scope::Scope(Workspace& workspace)
    : workspace_(workspace), chunk_(workspace.chunk_), offset_(workspace.offset_), used_(workspace.used_) {
  ++workspace_.depth_;
}

Workspace::Scope::~Scope() {
  workspace_.chunk_ = chunk_;
  workspace_.offset_ = offset_;
  workspace_.used_ = used_;
  if (--workspace_.depth_ > 0 || workspace_.chunks_.size() <= 1) return;
  const std::size_t most = workspace_.most_;
  workspace_.release();
  workspace_.most_ = most;
  try {
    workspace_.add_chunk(most);
  } catch (const Error&) {
    // The merged chunk does not fit in one piece: the next pass takes chunks again.
  }
}

TensorView Workspace::take(DType dtype, const Shape& shape) {
  WAN_CHECK(depth_ > 0, kInternal, "[workspace] memory is taken inside a Scope only");
  const std::size_t padded = padded_bytes(dtype, shape);
  while (chunk_ < chunks_.size() && offset_ + padded > chunks_[chunk_].size()) {
    ++chunk_;
    offset_ = 0;
  }
  if (chunk_ == chunks_.size()) add_chunk(std::max(padded, kSmallestChunk));
  std::byte* data = chunks_[chunk_].data() + offset_;
  offset_ += padded;
  used_ += padded;
  most_ = std::max(most_, used_);
  return {data, dtype, shape, allocator_->device()};
}

std::size_t Workspace::padded_bytes(DType dtype, const Shape& shape) {
  const std::size_t bytes = dtype_bytes(dtype, shape.elements());
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

void Workspace::reserve(std::size_t bytes) {
  if (depth_ == 0 && (chunks_.size() != 1 || chunks_.front().size() < bytes)) release();
  most_ = std::max(most_, used_ + bytes);
  for (std::size_t chunk = chunk_; chunk < chunks_.size(); ++chunk) {
    const std::size_t offset = chunk == chunk_ ? offset_ : 0;
    if (chunks_[chunk].size() - offset < bytes) continue;
    chunk_ = chunk;
    offset_ = offset;
    return;
  }
  chunk_ = chunks_.size();
  offset_ = 0;
  add_chunk(bytes);
}

std::size_t Workspace::capacity() const {
  std::size_t total = 0;
  for (const Buffer& chunk : chunks_) total += chunk.size();
  return total;
}

void Workspace::release() {
  WAN_ASSERT(depth_ == 0);
  chunks_.clear();
  chunk_ = 0;
  offset_ = 0;
  most_ = 0;
  // What comes next may be larger than any of the pieces.
  allocator_->trim();
}

void Workspace::add_chunk(std::size_t bytes) {
  chunks_.emplace_back(*allocator_, bytes);
  ++allocations_;
}

}  // namespace wan
