#include "layouts/made_tensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/untrusted_text.h"
#include "layouts/part_names.h"

namespace wan {

namespace {

using Pieces = std::vector<const TensorEntry*>;

constexpr std::string_view kMotion = "motion_encoder.enc.net_app.convs.";

/// 1 3 3 1 in both directions, of sum 1.
constexpr std::array<float, 16> kBlur = [] {
  constexpr std::array<float, 4> kTaps = {1, 3, 3, 1};
  constexpr float kSum = 64;
  std::array<float, 16> blur{};
  for (std::size_t i = 0; i < blur.size(); ++i) blur[i] = kTaps[i / 4] * kTaps[i % 4] / kSum;
  return blur;
}();

void check_piece(const Checkpoint& checkpoint, const TensorEntry& piece, const TensorEntry& first) {
  WAN_CHECK(piece.dtype == first.dtype && piece.shape == first.shape && piece.shape.rank() > 0 &&
                piece.view().is_contiguous(),
            kBadFile,
            "[{}] expected {} and {} to be rows of one matrix, of one shape and type; download it again",
            checkpoint.path(), quote_name(first.name), quote_name(piece.name));
  WAN_CHECK(
      piece.scales == nullptr, kUnsupported,
      "[{}] {} has scales, and is a piece of an official tensor: that is not read; use the bf16 copy of "
      "this checkpoint",
      checkpoint.path(), quote_name(piece.name));
}

TensorEntry join_rows(const Checkpoint& checkpoint, const std::string& name, const Pieces& pieces) {
  const TensorEntry& first = *pieces.front();
  for (const TensorEntry* piece : pieces) check_piece(checkpoint, *piece, first);
  const std::size_t bytes = first.storage.size();
  const auto memory = std::make_shared_for_overwrite<std::byte[]>(bytes * pieces.size());
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (bytes > 0) std::memcpy(memory.get() + i * bytes, pieces[i]->storage.data(), bytes);
    checkpoint.done_reading(*pieces[i]);
  }
  std::vector<std::int64_t> extents(first.shape.extents().begin(), first.shape.extents().end());
  extents[0] *= static_cast<std::int64_t>(pieces.size());
  TensorEntry joined = first;
  joined.name = name;
  joined.shape = Shape(extents);
  joined.storage = {memory.get(), bytes * pieces.size()};
  joined.memory = memory;
  return joined;
}

void give_official_shape(TensorEntry& entry) {
  const Shape& shape = entry.shape;
  if (!entry.view().is_contiguous()) return;
  if (shape.rank() == 1 && entry.name.starts_with(kMotion) && entry.name.ends_with(".bias"))
    entry.shape = {1, shape[0], 1, 1};
  else if (shape.rank() == 1 && entry.name == "visual.cls_embedding")
    entry.shape = {1, 1, shape[0]};
  else if (shape.rank() == 2 && entry.name == "visual.pos_embedding")
    entry.shape = {1, shape[0], shape[1]};
  entry.strides = contiguous_strides(entry.shape);
}

/// What each level of a motion encoder blurs pictures by before it halves them.
void add_blurs(const Checkpoint& named, std::vector<TensorEntry>& entries) {
  for (int level = 1;; ++level) {
    const std::string at = std::string(kMotion) + std::to_string(level);
    if (named.find(at + ".conv1.0.weight") == nullptr) return;
    for (const char* name : {".conv2.0.kernel", ".skip.0.kernel"})
      if (named.find(at + name) == nullptr)
        entries.push_back({.name = at + name,
                           .dtype = DType::kF32,
                           .shape = {4, 4},
                           .strides = {4, 1},
                           .storage = std::as_bytes(std::span(kBlur)),
                           .file = "no file"});
  }
}

}  // namespace

Checkpoint with_made_tensors(const Checkpoint& named) {
  std::vector<TensorEntry> entries;
  std::map<std::string, Pieces> wholes;
  for (const TensorEntry& entry : named.entries()) {
    if (const auto rows = official_rows(entry.name)) {
      Pieces& pieces = wholes[rows->name];
      pieces.resize(rows->pieces);
      pieces[rows->piece] = &entry;
    } else {
      entries.push_back(entry);
      give_official_shape(entries.back());
    }
  }
  for (const auto& [name, pieces] : wholes) {
    if (std::ranges::find(pieces, nullptr) == pieces.end()) {
      entries.push_back(join_rows(named, name, pieces));
      continue;
    }
    for (const TensorEntry* piece : pieces)
      if (piece != nullptr) entries.push_back(*piece);
  }
  add_blurs(named, entries);
  return named.with_entries(std::move(entries));
}

}  // namespace wan
