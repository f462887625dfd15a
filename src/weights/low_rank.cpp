#include "weights/low_rank.h"

#include <algorithm>
#include <vector>

#include "base/untrusted_text.h"
#include "weights/convert.h"

namespace wan {

namespace {

constexpr std::string_view kDown = ".lora_A.weight", kUp = ".lora_B.weight";

/// "diffusion_model.blocks.0.ffn.0.lora_A.default.weight" -> "blocks.0.ffn.0.lora_A.weight".
std::string plain_name(std::string name) {
  for (const std::string_view prefix : {"base_model.model.", "diffusion_model."})
    if (name.starts_with(prefix)) name.erase(0, prefix.size());
  constexpr std::string_view kAdapter = ".default.weight";
  if (name.ends_with(kAdapter)) name.replace(name.size() - kAdapter.size(), kAdapter.size(), ".weight");
  return name;
}

std::vector<float> as_floats(const TensorView& view, std::int64_t first, std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  convert_part(view, first, TensorView(values.data(), DType::kF32, {count}));
  return values;
}

}  // namespace

void add_low_rank(const LowRankSum& sum, std::int64_t first, std::span<float> values) {
  const std::int64_t rank = sum.down->shape[0], in = sum.down->shape[1];
  const std::vector<float> down = as_floats(sum.down->view(), 0, rank * in);
  const std::int64_t end = first + static_cast<std::int64_t>(values.size());
  for (std::int64_t row = first / in; row * in < end; ++row) {
    const std::vector<float> up = as_floats(sum.up->view(), row * rank, rank);
    const std::int64_t from = std::max(row * in, first), to = std::min((row + 1) * in, end);
    float* const out = values.data() + (from - first);
    for (std::int64_t k = 0; k < rank; ++k) {
      const float share = up[static_cast<std::size_t>(k)];
      const float* const added = down.data() + k * in + (from - row * in);
      for (std::int64_t i = 0; i < to - from; ++i) out[i] += share * added[i];
    }
  }
}

LowRankSums::LowRankSums(const std::filesystem::path& file, const BlockLayout& layout, int count)
    : checkpoint_(Checkpoint::open(file)) {
  std::map<std::string, const TensorEntry*> entries;
  for (const TensorEntry& entry : checkpoint_.entries()) {
    const bool is_new = entries.emplace(plain_name(entry.name), &entry).second;
    WAN_CHECK(is_new, kBadFile, "{}: {} stands there under two names", file.string(), quote_name(entry.name));
  }
  const auto take = [&](const std::string& name) {
    const auto found = entries.find(name);
    const TensorEntry* const entry = found == entries.end() ? nullptr : found->second;
    if (entry != nullptr) entries.erase(found);
    return entry;
  };
  std::size_t wanted = 0;
  std::string missing;
  for (int block = 0; block < count; ++block) {
    const std::vector<WeightSpec> specs = layout.block_weights(block);
    for (const WeightSpec& spec : std::span(specs).first(layout.weights.size())) {
      if (spec.shape.rank() != 2) continue;
      ++wanted;
      const std::string base = spec.name.substr(0, spec.name.rfind('.'));
      const TensorEntry *const down = take(base + std::string(kDown)), *const up =
                                                                           take(base + std::string(kUp));
      if (down == nullptr || up == nullptr) {
        if (missing.empty()) missing = base;
        continue;
      }
      const bool fits = down->shape.rank() == 2 && up->shape.rank() == 2 && down->shape[0] >= 1 &&
                        down->shape[1] == spec.shape[1] && up->shape[0] == spec.shape[0] &&
                        up->shape[1] == down->shape[0];
      WAN_CHECK(fits, kBadFile, "{}: of {} it has {} and {}, which make no {}; it is of another model",
                file.string(), base, up->shape.to_string(), down->shape.to_string(), spec.shape.to_string());
      for (const TensorEntry* entry : {down, up})
        WAN_CHECK(is_floating(entry->dtype), kBadFile, "{}: {} holds no floating-point numbers",
                  file.string(), quote_name(entry->name));
      sums_[spec.name] = {.up = up, .down = down};
    }
  }
  WAN_CHECK(sums_.size() == wanted, kBadFile,
            "{}: it has {} of {} pairs of matrices, and none for {}; it is incomplete, or of another model",
            file.string(), sums_.size(), wanted, missing);
  WAN_CHECK(entries.empty(), kBadFile,
            "{}: it has {} tensors that belong to no weight of the blocks, such as {}", file.string(),
            entries.size(), quote_name(entries.begin()->second->name));
}

const LowRankSum* LowRankSums::find(const std::string& weight) const {
  const auto found = sums_.find(weight);
  return found == sums_.end() ? nullptr : &found->second;
}

}  // namespace wan
