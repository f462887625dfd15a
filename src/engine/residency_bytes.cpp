#include "engine/residency_bytes.h"

#include "models/wan/transformer.h"

namespace wan {

ResidencyBytes planned_residency_bytes(const ModelShapes& models, const LoadOptions& options) {
  WeightReport none(Checkpoint::from_files({}, "no file"), "plan");
  const auto group = [&](const BlockLayout& layout, std::int64_t count, DType weights) {
    return BlockGroup{WeightScope::describing(none, weights), layout, static_cast<int>(count)};
  };
  std::vector<BlockGroup> groups;
  for (const WanConfig& config : models.transformers)
    groups.push_back(group(wan_block_layout(config), config.num_layers, options.weights));
  const BlockGroup text =
      group(umt5_block_layout(models.text_encoder), models.text_encoder.num_layers, options.text_weights());
  if (options.text_encoder_host)
    return {.transformers = residency_bytes(groups, options.residency),
            .text_encoder_host = residency_bytes(std::span(&text, 1), options.text_encoder_host->residency)};
  if (options.residency.kind == ResidencyKind::kResident)
    return {.transformers = residency_bytes(groups, options.residency),
            .text_encoder = residency_bytes(std::span(&text, 1), options.residency)};
  groups.push_back(text);
  return {.transformers = residency_bytes(groups, options.residency), .text_encoder = 0};
}

}  // namespace wan
