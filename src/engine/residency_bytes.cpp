#include "engine/residency_bytes.h"

#include <algorithm>

#include "models/wan/transformer.h"

namespace wan {

ModelShares ModelShares::of(int rank) const {
  ModelShares shares = *this;
  for (BlockShare& share : shares.transformers) share.rank = rank;
  shares.text_encoder.rank = rank;
  return shares;
}

void ModelShares::read_once(int ranks, Allocator& allocator) {
  // One that ranks copy, one that is read meanwhile, and one for a rank that is behind.
  constexpr int kPlaces = 3;
  const auto common = std::make_shared<CommonBlocks>(ranks, kPlaces, allocator);
  for (std::size_t i = 0; i < transformers.size(); ++i) {
    transformers[i].common = common;
    transformers[i].model = static_cast<int>(i);
  }
}

void ModelShares::reads_nothing(int rank) const {
  for (const BlockShare& share : transformers)
    if (share.common) share.common->leave(rank);
}

ModelShares make_shares(const ModelShapes& models, const Sharding& sharding) {
  const auto share = [&](std::int64_t count, std::int64_t divided) -> BlockShare {
    if (divided == 0 || sharding.ranks == 1) return {};
    return {
        std::make_shared<BlockShards>(sharding.ranks, static_cast<int>(count), static_cast<int>(divided))};
  };
  ModelShares made;
  for (const WanConfig& config : models.transformers)
    made.transformers.push_back(
        share(config.num_layers, std::min<std::int64_t>(config.num_layers, sharding.transformer_blocks)));
  const std::int64_t layers = models.text_encoder.num_layers;
  made.text_encoder = share(layers, sharding.text_encoder ? layers : 0);
  return made;
}

ResidencyBytes planned_residency_bytes(const ModelShapes& models, const LoadOptions& options) {
  WeightReport none(Checkpoint::from_files({}, "no file"), "plan");
  const ModelShares shares = make_shares(models, options.sharding);
  const auto group = [&](const BlockLayout& layout, std::int64_t count, DType weights,
                         const BlockShare& share) {
    return BlockGroup{WeightScope::describing(none, weights), layout, static_cast<int>(count), share};
  };
  std::vector<BlockGroup> groups;
  for (std::size_t i = 0; i < models.transformers.size(); ++i) {
    const WanConfig& config = models.transformers[i];
    groups.push_back(
        group(models.transformer_layout(i), config.num_layers, options.weights, shares.transformers[i]));
  }
  if (!options.has_text_encoder()) return {.transformers = residency_bytes(groups, options.residency)};
  const BlockGroup text = group(models.text_encoder_layout(), models.text_encoder.num_layers,
                                options.text_weights(), shares.text_encoder);
  if (options.text_encoder_host)
    return {.transformers = residency_bytes(groups, options.residency),
            .text_encoder_host = residency_bytes(std::span(&text, 1), options.text_encoder_host->residency)};
  if (options.residency.kind == ResidencyKind::kResident)
    return {.transformers = residency_bytes(groups, options.residency),
            .text_encoder =
                residency_bytes(std::span(&text, 1), options.text_encoder_has_places() ? options.text_places()
                                                                                       : options.residency)};
  groups.push_back(text);
  const std::size_t text_shares = share_bytes(text);
  return {.transformers = residency_bytes(groups, options.residency) - text_shares,
          .text_encoder = text_shares};
}

std::size_t planned_addition_bytes(const ModelShapes& models, const LoadOptions& options) {
  ModelShapes plain = models;
  for (PackedWeights& packed : plain.packed_transformers) packed = without_additions(std::move(packed));
  return planned_residency_bytes(models, options).all() - planned_residency_bytes(plain, options).all();
}

}  // namespace wan
