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

std::int64_t rows_of(const LoraFactor& factor) {
  return std::visit([](const auto& part) { return part.rows(); }, factor);
}

std::int64_t columns_of(const LoraFactor& factor) {
  return std::visit([](const auto& part) { return part.columns(); }, factor);
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
    const TensorEntry* magnitude = find(roles, LoraRole::kMagnitude);
    WAN_CHECK(first != nullptr || magnitude == nullptr, kBadFile,
              "{}: {} has no other half; the file is damaged", use_.file.string(),
              quote_name(magnitude->name));
    if (first == nullptr) return;
    const std::string name = weight_name(module);
    if (magnitude != nullptr) {
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

  void check_shape(const TensorEntry& target, const TensorEntry& of, std::int64_t rows,
                   std::int64_t columns) const {
    const std::int64_t own = target.elements() / target.shape[0];
    WAN_CHECK(
        rows == target.shape[0] && columns == own, kBadFile,
        "{}: {} makes a matrix of {} x {}, and {} of the transformer is {}: the LoRA is of another model, or "
        "damaged",
        use_.file.string(), quote_name(of.name), rows, columns, target.name, target.shape.to_string());
  }

  /// The first of the roles from `begin` to `end`, both among them.
  static const TensorEntry* first_of(const Roles& roles, LoraRole begin, LoraRole end) {
    const auto found = roles.lower_bound(begin);
    return found != roles.end() && found->first <= end ? found->second : nullptr;
  }

  /// What others of the file need.
  const TensorEntry& need(const Roles& roles, LoraRole role, const TensorEntry& other) const {
    const TensorEntry* found = find(roles, role);
    WAN_CHECK(found != nullptr, kBadFile, "{}: {} has no other half; the file is damaged", use_.file.string(),
              quote_name(other.name));
    return *found;
  }

  /// Two matrices and what may stand between them; `first` is of them.
  /// `turned`: beside a core the first has its rank before its rows.
  LoraProduct product(const Roles& roles, LoraRole up, LoraRole down, std::optional<LoraRole> core,
                      const TensorEntry& first, bool turned) const {
    const TensorEntry* between = core ? find(roles, *core) : nullptr;
    LoraProduct made{.up = {file_, need(roles, up, first)}, .down = {file_, need(roles, down, first)}};
    const std::int64_t inner = made.down.rows();
    std::int64_t outer = inner;
    bool fits = inner > 0;
    if (between != nullptr) {
      fits = fits && between->shape.rank() >= 2 && between->shape[1] == inner && between->elements() > 0;
      outer = fits ? between->shape[0] : 0;
      made.core.emplace(file_, *between);
      made.up_by_columns = turned;
    }
    WAN_CHECK(fits && outer == (made.up_by_columns ? made.up.rows() : made.up.columns()) && made.rows() > 0,
              kBadFile, "{}: {} and its other half do not fit", use_.file.string(), quote_name(first.name));
    return made;
  }

  /// A factor of LoKr, whole or as a product; the rank where it is one.
  /// No larger than `target`.
  std::optional<LoraFactor> kron_factor(const TensorEntry& target, const Roles& roles, LoraRole whole,
                                        LoraRole a, LoraRole b, std::optional<LoraRole> core,
                                        std::int64_t& rank) const {
    const TensorEntry* const entry = find(roles, whole);
    const TensorEntry* first = entry;
    for (const LoraRole role : {a, b})
      if (first == nullptr) first = find(roles, role);
    if (first == nullptr) return std::nullopt;
    LoraFactor made =
        entry != nullptr ? LoraFactor(LoraTensor(file_, *entry)) : product(roles, a, b, core, *first, true);
    WAN_CHECK(columns_of(made) > 0 && rows_of(made) <= target.elements() / columns_of(made), kBadFile,
              "{}: {} and its other half do not fit", use_.file.string(), quote_name(first->name));
    if (const auto* const of_two = std::get_if<LoraProduct>(&made)) rank = of_two->down.rows();
    return made;
  }

  /// The first tensor of what it found; nullptr for none.
  const TensorEntry* add_deltas(const std::string& module, const Roles& roles, LoraStep& step) const {
    const TensorEntry* first = nullptr;
    const auto strength = use_.strength;
    const auto begin = [&](LoraRole from, LoraRole to) {
      const TensorEntry* found = first_of(roles, from, to);
      if (first == nullptr) first = found;
      return found;
    };
    const std::string name = weight_name(module);
    if (const TensorEntry* set = begin(LoraRole::kSet, LoraRole::kSet))
      step.set = shaped(weight(name, *set), *set);
    if (const TensorEntry* diff = begin(LoraRole::kDiff, LoraRole::kDiff))
      step.deltas.push_back(whole_delta(shaped(weight(name, *diff), *diff), static_cast<float>(strength)));
    const bool dora = find(roles, LoraRole::kMagnitude) != nullptr;
    const double scale = dora ? 1.0 : strength;  // DoRA's strength is of the whole difference
    const auto scaled = [&](std::int64_t rank) { return static_cast<float>(scale * factor(roles, rank)); };
    if (const TensorEntry* of = begin(LoraRole::kDown, LoraRole::kCore)) {
      const LoraProduct made = product(roles, LoraRole::kUp, LoraRole::kDown, LoraRole::kCore, *of, false);
      check_shape(weight(name, *of), *of, made.rows(), made.columns());
      step.deltas.push_back(low_rank_delta(made, scaled(made.down.rows())));
    }
    if (const TensorEntry* of = begin(LoraRole::kHadaW1a, LoraRole::kHadaT2)) {
      WAN_CHECK((find(roles, LoraRole::kHadaT1) == nullptr) == (find(roles, LoraRole::kHadaT2) == nullptr),
                kBadFile, "{}: {} has one core and not the other; the file is damaged", use_.file.string(),
                quote_name(of->name));
      const LoraProduct one =
          product(roles, LoraRole::kHadaW1a, LoraRole::kHadaW1b, LoraRole::kHadaT1, *of, true);
      const LoraProduct two =
          product(roles, LoraRole::kHadaW2a, LoraRole::kHadaW2b, LoraRole::kHadaT2, *of, true);
      for (const LoraProduct* made : {&one, &two})
        check_shape(weight(name, *of), *of, made->rows(), made->columns());
      step.deltas.push_back(hadamard_delta(one, two, scaled(one.down.rows())));
    }
    if (const TensorEntry* of = begin(LoraRole::kKronW1, LoraRole::kKronT2)) {
      const TensorEntry& target = weight(name, *of);
      std::int64_t rank = 0;
      const auto w1 = kron_factor(target, roles, LoraRole::kKronW1, LoraRole::kKronW1a, LoraRole::kKronW1b,
                                  std::nullopt, rank);
      const auto w2 = kron_factor(target, roles, LoraRole::kKronW2, LoraRole::kKronW2a, LoraRole::kKronW2b,
                                  LoraRole::kKronT2, rank);
      WAN_CHECK(w1 && w2, kBadFile, "{}: {} has no other half; the file is damaged", use_.file.string(),
                quote_name(of->name));
      check_shape(target, *of, rows_of(*w1) * rows_of(*w2), columns_of(*w1) * columns_of(*w2));
      // Two whole factors have no rank that alpha could be over.
      step.deltas.push_back(kronecker_delta(*w1, *w2, rank > 0 ? scaled(rank) : static_cast<float>(scale)));
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
