#include "engine/model_checks.h"

#include "base/error.h"

namespace wan {

namespace {

/// Declares every block; a residency would do the same, but needs a target to load into.
void declare_blocks(const WeightScope& scope, const BlockLayout& layout, std::int64_t count) {
  for (int block = 0; block < count; ++block) {
    const std::string prefix = layout.block_prefix(block);
    const WeightScope child = scope.child(prefix.substr(0, prefix.size() - 1));
    for (const WeightSpec& spec : layout.weights) child.declare(spec);
  }
}

/// Stands where a constructor wants a residency that it will not use.
class NoBlocks final : public BlockResidency {
 public:
  void preload(const LoadProgress&) override {}
  void set_schedule(std::span<const BlockId>) override {}
  BlockLease acquire(BlockId) override { fail(ErrorCode::kInternal, "[model check] no block is loaded"); }
  std::size_t bytes() const override { return 0; }
  ResidencyStats stats() const override { return {}; }

 private:
  void release(std::size_t) noexcept override {}
};

}  // namespace

void declare_transformer(const WanConfig& config, const WeightScope& scope) {
  NoBlocks none;
  const WanTransformer transformer(config, scope, none, 0, DType::kF32, "");
  declare_blocks(scope, wan_block_layout(config), config.num_layers);
}

void declare_text_encoder(const Umt5Config& config, const WeightScope& scope) {
  NoBlocks none;
  const Umt5Encoder encoder(config, scope, none, 0, "");
  declare_blocks(scope, umt5_block_layout(config), config.num_layers);
}

WanConfig check_transformer(const std::filesystem::path& folder, WeightReport& report) {
  const WeightScope scope = WeightScope::describing(report);
  const WanConfig config = load_wan_config(folder, scope);
  declare_transformer(config, scope);
  return config;
}

Umt5Config check_text_encoder(WeightReport& report) {
  const WeightScope scope = WeightScope::describing(report);
  const Umt5Config config = umt5_config(scope);
  declare_text_encoder(config, scope);
  return config;
}

void throw_findings(std::span<const WeightReport* const> reports) {
  std::string findings;
  for (const WeightReport* report : reports) {
    if (report->clean()) continue;
    if (!findings.empty()) findings += "\n";
    findings += report->describe();
  }
  WAN_CHECK(findings.empty(), kBadFile, "{}", findings);
}

}  // namespace wan
