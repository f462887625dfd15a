#pragma once
// LowRankSums: what a LoRA adds to weights of a checkpoint: to each the product of two narrow matrices, while it is loaded.

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "weights/block_layout.h"
#include "weights/checkpoint.h"

namespace wan {

/// weight [out, in] += up down. Both stay in the mapped file.
struct LowRankSum {
  const TensorEntry* up;    // "NAME.lora_B.weight" [out, rank]
  const TensorEntry* down;  // "NAME.lora_A.weight" [rank, in]
};

/// values += the sum's values from the row-major index `first` of the weight on.
void add_low_rank(const LowRankSum& sum, std::int64_t first, std::span<float> values);

class LowRankSums {
 public:
  /// A safetensors file or one of torch.save, with a pair for each matrix of `count` blocks of `layout`, and nothing else; names may begin
  /// with "diffusion_model." or "base_model.model.", and have "default." before "weight". Throws BadFile that says how many pairs are
  /// missing, and names the first.
  LowRankSums(const std::filesystem::path& file, const BlockLayout& layout, int count);

  /// Of the weight that the checkpoint calls so ("blocks.0.ffn.0.weight"); nullptr: nothing is added.
  const LowRankSum* find(const std::string& weight) const;
  const Checkpoint& checkpoint() const { return checkpoint_; }

 private:
  Checkpoint checkpoint_;
  std::map<std::string, LowRankSum> sums_;  // by the weight's name
};

}  // namespace wan
