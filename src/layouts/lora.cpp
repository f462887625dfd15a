#include "layouts/lora.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/untrusted_text.h"
#include "json/strict_json.h"
#include "layouts/lora_keys.h"

namespace wan {

namespace {

using Roles = std::map<LoraRole, const TensorEntry*>;

struct SortedKeys {
  std::map<std::string, Roles> modules;
  std::size_t image_attention = 0;
  std::size_t other_expert = 0;
  std::vector<std::string> unknown;
};

/// What alpha / rank is where a file does not say it by layer.
struct PeftScale {
  double alpha;
  bool by_root;  // over the root of the rank

  double of(std::int64_t rank) const {
    const auto size = static_cast<double>(rank);
    return alpha / (by_root ? std::sqrt(size) : size);
  }
};

/// Of the file's own metadata, or PEFT's adapter_config.json beside it.
std::optional<PeftScale> read_peft_scale(const Checkpoint& file) {
  constexpr int kDepth = 8;
  nlohmann::json config;
  const auto& metadata = file.metadata();
  const std::filesystem::path beside = folder_of(file.file()) / "adapter_config.json";
  if (const auto found = metadata.find("lora_adapter_metadata"); found != metadata.end())
    config = parse_strict_json(std::string_view(found->second), file.path(), kDepth);
  else if (file_exists(beside))
    config = read_json_file(beside, kDepth);
  if (!config.is_object()) return std::nullopt;
  for (const char* prefix : {"", "transformer."}) {
    const auto alpha = config.find(std::string(prefix) + "lora_alpha");
    if (alpha == config.end() || !alpha->is_number()) continue;
    const auto root = config.find(std::string(prefix) + "use_rslora");
    const bool by_root = root != config.end() && root->is_boolean() && root->get<bool>();
    return PeftScale{alpha->get<double>(), by_root};
  }
  return std::nullopt;
}

/// One file being read for one transformer.
class LoraReader {
 public:
  LoraReader(const Checkpoint& transformer, const LoraUse& use)
      : transformer_(transformer),
        use_(use),
        file_(Checkpoint::open(use.file)),
        peft_(read_peft_scale(file_)) {}

  SortedKeys sort(const LoraKeyReader& keys, bool low_noise) const {
    SortedKeys sorted;
    bool both = false;
    for (const TensorEntry& entry : file_.entries()) both = both || entry.name.starts_with("transformer_2.");
    for (const TensorEntry& entry : file_.entries()) {
      LoraKey key = keys.read(entry.name, low_noise, both);
      WAN_CHECK(
          key.place != LoraPlace::kTextEncoder, kUnsupported,
          "{}: {} is of a text encoder's LoRA, which is not merged; use a LoRA of the transformer alone",
          use_.file.string(), quote_name(entry.name));
      if (key.place == LoraPlace::kApplies)
        WAN_CHECK(sorted.modules[key.module].emplace(key.role, &entry).second, kBadFile,
                  "{}: {} stands there under two names", use_.file.string(), quote_name(entry.name));
      else if (key.place == LoraPlace::kImageAttention)
        ++sorted.image_attention;
      else if (key.place == LoraPlace::kOtherExpert)
        ++sorted.other_expert;
      else
        sorted.unknown.push_back(entry.name);
    }
    return sorted;
  }

  /// Adds the module's steps to those of its weights.
  void add_steps(const std::string& module, const Roles& roles,
                 std::map<std::string, std::vector<LoraStep>>& steps) const {
    if (const TensorEntry* bias = find(roles, LoraRole::kDiffBias))
      steps[module + ".bias"].push_back(whole_step(weight(module + ".bias", *bias), *bias));
    if (const TensorEntry* modulation = find(roles, LoraRole::kDiffModulation))
      steps[module + ".modulation"].push_back(
          whole_step(weight(module + ".modulation", *modulation), *modulation));
    LoraStep step{.strength = static_cast<float>(use_.strength)};
    const TensorEntry* first = add_deltas(module, roles, step);
    if (first == nullptr) return;
    const std::string name = weight_name(module);
    if (const TensorEntry* magnitude = find(roles, LoraRole::kMagnitude)) {
      const LoraTensor sizes(file_, *magnitude);
      const TensorEntry& target = weight(name, *magnitude);
      const std::int64_t rows = target.shape[0];
      const std::int64_t count = sizes.elements();
      step.magnitude_of_rows = sizes.rows() == rows && sizes.columns() == 1;
      step.magnitude = sizes.read(0, count);
      sizes.done_reading();
      WAN_CHECK(step.magnitude_of_rows || count == target.elements() / rows, kBadFile,
                "{}: {} has {} numbers for a weight of {}", use_.file.string(), quote_name(magnitude->name),
                count, target.shape.to_string());
    }
    steps[name].push_back(std::move(step));
  }

 private:
  static const TensorEntry* find(const Roles& roles, LoraRole role) {
    const auto found = roles.find(role);
    return found != roles.end() ? found->second : nullptr;
  }

  /// "blocks.0.self_attn.q.weight", or "blocks.0.modulation" itself.
  std::string weight_name(const std::string& module) const {
    return transformer_.find(module) != nullptr ? module : module + ".weight";
  }

  const TensorEntry& weight(const std::string& name, const TensorEntry& of) const {
    const TensorEntry* found = transformer_.find(name);
    WAN_CHECK(found != nullptr, kBadFile, "{}: {} is for {}, which the transformer has not",
              use_.file.string(), quote_name(of.name), name);
    WAN_CHECK(found->is_weight() && found->elements() > 0, kBadFile,
              "{}: {} is for {}, which holds no weights", use_.file.string(), quote_name(of.name), name);
    return *found;
  }

  LoraStep whole_step(const TensorEntry& target, const TensorEntry& difference) const {
    LoraStep step{.strength = static_cast<float>(use_.strength)};
    step.deltas.push_back(whole_delta(shaped(target, difference), static_cast<float>(use_.strength)));
    return step;
  }

  LoraTensor shaped(const TensorEntry& target, const TensorEntry& entry) const {
    WAN_CHECK(target.elements() == entry.elements(), kBadFile,
              "{}: {} is {}, and {} of the transformer {}: the LoRA is of another model", use_.file.string(),
              quote_name(entry.name), entry.shape.to_string(), target.name, target.shape.to_string());
    LoraTensor matrix(file_, entry);
    matrix.set_rows(target.shape[0]);
    return matrix;
  }

  /// alpha / rank of the module; 1 where nothing says it.
  double factor(const Roles& roles, std::int64_t rank) const {
    const TensorEntry* alpha = find(roles, LoraRole::kAlpha);
    if (alpha == nullptr) return peft_ && !use_.complete ? peft_->of(rank) : 1.0;
    const LoraTensor number(file_, *alpha);
    const float value = number.elements() == 1 ? number.read(0, 1)[0] : NAN;
    number.done_reading();
    WAN_CHECK(std::isfinite(value), kBadFile, "{}: {} is no number", use_.file.string(),
              quote_name(alpha->name));
    return static_cast<double>(value) / static_cast<double>(rank);
  }

  void check_shape(const TensorEntry& target, const TensorEntry& of, std::int64_t rows, std::int64_t columns,
                   bool inner) const {
    const std::int64_t own = target.elements() / target.shape[0];
    WAN_CHECK(
        inner && rows == target.shape[0] && columns == own, kBadFile,
        "{}: {} makes a matrix of {} x {}, and {} of the transformer is {}: the LoRA is of another model, or "
        "damaged",
        use_.file.string(), quote_name(of.name), rows, columns, target.name, target.shape.to_string());
  }

  /// A pair of which one is missing.
  const TensorEntry& need(const Roles& roles, LoraRole role, const TensorEntry& other) const {
    const TensorEntry* found = find(roles, role);
    WAN_CHECK(found != nullptr, kBadFile, "{}: {} has no other half; the file is damaged", use_.file.string(),
              quote_name(other.name));
    return *found;
  }

  LoraTensor load(const TensorEntry& entry) const { return {file_, entry}; }

  /// A factor of LoKr, whole or as a product; the rank where it is one.
  /// No larger than the weight `name`.
  std::optional<LoraFactor> kron_factor(const std::string& name, const Roles& roles, LoraRole whole,
                                        LoraRole a, LoraRole b, std::int64_t& rank) const {
    if (const TensorEntry* entry = find(roles, whole)) return LoraFactor{load(*entry), std::nullopt};
    const TensorEntry* first = find(roles, a);
    if (first == nullptr) first = find(roles, b);
    if (first == nullptr) return std::nullopt;
    LoraTensor left = load(need(roles, a, *first));
    LoraTensor right = load(need(roles, b, *first));
    WAN_CHECK(left.columns() == right.rows() && right.columns() > 0 &&
                  left.rows() <= weight(name, *first).elements() / right.columns(),
              kBadFile, "{}: {} and its other half do not fit", use_.file.string(), quote_name(first->name));
    rank = right.rows();
    return LoraFactor{std::move(left), std::move(right)};
  }

  /// The first tensor of what it found; nullptr for none.
  const TensorEntry* add_deltas(const std::string& module, const Roles& roles, LoraStep& step) const {
    const TensorEntry* first = nullptr;
    const auto strength = use_.strength;
    const auto begin = [&](LoraRole role) {
      const TensorEntry* found = find(roles, role);
      if (found != nullptr && first == nullptr) first = found;
      return found;
    };
    const std::string name = weight_name(module);
    if (const TensorEntry* set = begin(LoraRole::kSet)) step.set = shaped(weight(name, *set), *set);
    if (const TensorEntry* diff = begin(LoraRole::kDiff))
      step.deltas.push_back(whole_delta(shaped(weight(name, *diff), *diff), static_cast<float>(strength)));
    const bool dora = find(roles, LoraRole::kMagnitude) != nullptr;
    const double scale = dora ? 1.0 : strength;  // DoRA's strength is of the whole difference
    const TensorEntry* down = begin(LoraRole::kDown);
    const TensorEntry* up = begin(LoraRole::kUp);
    if (down != nullptr || up != nullptr) {
      LoraTensor a = load(need(roles, LoraRole::kUp, *first));
      LoraTensor b = load(need(roles, LoraRole::kDown, *first));
      const std::int64_t rank = b.rows();
      check_shape(weight(name, *first), *first, a.rows(), b.columns(), a.columns() == rank && rank > 0);
      step.deltas.push_back(
          low_rank_delta({std::move(a), std::move(b), static_cast<float>(scale * factor(roles, rank))}));
    }
    if (const TensorEntry* hada = begin(LoraRole::kHadaW1a)) {
      LoraTensor a1 = load(*hada);
      LoraTensor b1 = load(need(roles, LoraRole::kHadaW1b, *hada));
      LoraTensor a2 = load(need(roles, LoraRole::kHadaW2a, *hada));
      LoraTensor b2 = load(need(roles, LoraRole::kHadaW2b, *hada));
      const std::int64_t rank = b1.rows();
      check_shape(weight(name, *hada), *hada, a1.rows(), b1.columns(),
                  rank > 0 && a1.columns() == rank && a2.columns() == b2.rows() && a2.rows() == a1.rows() &&
                      b2.columns() == b1.columns());
      step.deltas.push_back(hadamard_delta(std::move(a1), std::move(b1), std::move(a2), std::move(b2),
                                           static_cast<float>(scale * factor(roles, rank))));
    }
    std::int64_t rank = 0;
    std::optional<LoraFactor> w1 =
        kron_factor(name, roles, LoraRole::kKronW1, LoraRole::kKronW1a, LoraRole::kKronW1b, rank);
    std::optional<LoraFactor> w2 =
        kron_factor(name, roles, LoraRole::kKronW2, LoraRole::kKronW2a, LoraRole::kKronW2b, rank);
    if (w1 || w2) {
      for (const auto& [role, entry] : roles)
        if (role >= LoraRole::kKronW1 && first == nullptr) first = entry;
      const bool both = w1 && w2;
      check_shape(weight(name, *first), *first, both ? w1->rows() * w2->rows() : 0,
                  both ? w1->columns() * w2->columns() : 0, both);
      // Two whole factors have no rank that alpha could be over.
      step.deltas.push_back(
          kronecker_delta(std::move(*w1), std::move(*w2),
                          static_cast<float>(scale * (rank > 0 ? factor(roles, rank) : 1.0))));
    }
    return first;
  }

  const Checkpoint& transformer_;
  const LoraUse& use_;
  Checkpoint file_;
  std::optional<PeftScale> peft_;
};

std::string told(const LoraUse& use, const SortedKeys& keys, const std::string& title, std::size_t modules) {
  std::string text = fmt::format("{}: {} modules of the {}, at strength {}",
                                 quote_name(use.file.filename().string()), modules, title, use.strength);
  if (keys.image_attention > 0)
    text += fmt::format("; {} keys are of Wan2.1's cross-attention to images, which it has not",
                        keys.image_attention);
  if (!keys.unknown.empty())
    text += fmt::format("; {} keys are not known ({} ...)", keys.unknown.size(),
                        quote_name(keys.unknown.front()));
  return text;
}

void check_all_known(const LoraUse& use, const SortedKeys& keys, bool allow_unmatched) {
  constexpr std::size_t kShown = 3;
  std::vector<std::string> shown;
  for (std::size_t i = 0; i < std::min(kShown, keys.unknown.size()); ++i)
    shown.push_back(quote_name(keys.unknown[i]));
  WAN_CHECK(allow_unmatched || keys.unknown.empty(), kBadFile,
            "{}: {} of its keys are not known ({}{}); it is of another model, or `lora_allow_unmatched` "
            "leaves them out",
            use.file.string(), keys.unknown.size(), fmt::join(shown, ", "),
            keys.unknown.size() > kShown ? " ..." : "");
  WAN_CHECK(allow_unmatched || !keys.modules.empty() || keys.other_expert > 0, kBadFile,
            "{}: nothing of it has a place in this model; it is of another one", use.file.string());
}

/// Of a model's own LoRA.
void check_complete(const Checkpoint& transformer, const LoraUse& use, const SortedKeys& keys) {
  std::size_t wanted = 0;
  std::size_t found = 0;
  std::string missing;
  for (const TensorEntry& entry : transformer.entries()) {
    constexpr std::string_view kWeight = ".weight";
    if (!entry.name.starts_with("blocks.") || !entry.name.ends_with(kWeight) || entry.shape.rank() != 2)
      continue;
    ++wanted;
    const std::string module = entry.name.substr(0, entry.name.size() - kWeight.size());
    const auto has = keys.modules.find(module);
    if (has != keys.modules.end() && has->second.contains(LoraRole::kUp) &&
        has->second.contains(LoraRole::kDown) && has->second.size() == 2)
      ++found;
    else if (missing.empty())
      missing = module;
  }
  WAN_CHECK(found == wanted, kBadFile,
            "{}: it has {} of {} pairs of matrices, and none for {}; it is incomplete, or of another model",
            use.file.string(), found, wanted, missing);
  WAN_CHECK(keys.modules.size() == wanted && keys.unknown.empty() && keys.image_attention == 0, kBadFile,
            "{}: it has tensors that belong to no weight of the blocks{}", use.file.string(),
            keys.unknown.empty() ? "" : ", such as " + quote_name(keys.unknown.front()));
}

}  // namespace

LoraMerge merge_loras(const Checkpoint& transformer, std::span<const LoraUse> loras, const std::string& title,
                      bool low_noise, bool allow_unmatched) {
  LoraMerge merge{.transformer = transformer, .notices = {}};
  if (loras.empty()) return merge;
  const LoraKeyReader keys(transformer);
  std::map<std::string, std::vector<LoraStep>> steps;
  for (const LoraUse& use : loras) {
    const LoraReader reader(transformer, use);
    const SortedKeys sorted = reader.sort(keys, low_noise);
    if (use.complete)
      check_complete(transformer, use, sorted);
    else
      check_all_known(use, sorted, allow_unmatched);
    for (const auto& [module, roles] : sorted.modules) reader.add_steps(module, roles, steps);
    if (!use.complete) merge.notices.push_back(told(use, sorted, title, sorted.modules.size()));
  }
  std::map<std::string, std::shared_ptr<const WeightChange>> changes;
  for (auto& [name, of_weight] : steps)
    changes[name] = lora_change(*transformer.find(name), std::move(of_weight));
  merge.transformer = transformer.changed(changes);
  return merge;
}

}  // namespace wan
