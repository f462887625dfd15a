#include "weights/scaled_weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <unordered_map>

#include "base/untrusted_text.h"
#include "json/strict_json.h"
#include "tensor/formats/rotated.h"
#include "weights/byte_reader.h"
#include "weights/convert.h"

namespace wan {

namespace {

using nlohmann::json;

constexpr const char* kReadInstead = "use the fp8, int8, GGUF or bf16 copy of this checkpoint";

/// What a tensor beside the weight of layer X is called, behind X.
struct Suffix {
  const char* text;
  const char* weight;  // and the weight
};
constexpr std::array<Suffix, 4> kScales{{{".scale_weight", ".weight"},
                                         {".weight_scale", ".weight"},
                                         {".weight_scale_inv", ".weight"},
                                         {".weight._scale", ".weight._data"}}};
/// Of activations, for products of eight bits: not made here.
constexpr std::array<const char*, 3> kActivationScales{".scale_input", ".input_scale", ".output_scale"};
constexpr const char* kDescription = ".comfy_quant";
constexpr const char* kMarker = "scaled_fp8";

/// What tells a format that is not read.
struct Refusal {
  const char* suffix;
  const char* format;
};
constexpr std::array<Refusal, 7> kRefused{{{".qweight", "Nunchaku's or another packed format (qweight)"},
                                           {".wscales", "Nunchaku's format (wscales)"},
                                           {".wcscales", "Nunchaku's format (wcscales)"},
                                           {".smooth_factor", "Nunchaku's format (smooth_factor)"},
                                           {".weight_global_scale", "nvfp4 (weight_global_scale)"},
                                           {".weight_scale_2", "nvfp4 (weight_scale_2)"},
                                           {".pre_quant_scale", "AWQ (pre_quant_scale)"}}};

/// What a file says of a layer's weight.
struct Description {
  std::optional<DType> codes;
  bool rotated = false;
};

Description read_description(const json& layer, const std::string& where) {
  WAN_CHECK(layer.is_object() && layer.contains("format") && layer["format"].is_string(), kBadFile,
            "[{}] expected an object with a \"format\"; {}", where, kDamaged);
  const auto& format = layer["format"].get_ref<const std::string&>();
  Description description;
  if (format == "float8_e4m3fn") description.codes = DType::kF8E4M3;
  if (format == "float8_e5m2") description.codes = DType::kF8E5M2;
  if (format == "int8_tensorwise") description.codes = DType::kI8;
  WAN_CHECK(description.codes, kUnsupported, "[{}] is in {}, which is not read; {}", where,
            quote_name(format), kReadInstead);
  const json& params = layer.contains("params") && layer["params"].is_object() ? layer["params"] : layer;
  const auto find = [&](const char* key) -> const json* {
    return layer.contains(key) ? &layer[key] : params.contains(key) ? &params[key] : nullptr;
  };
  const json* rotated = find("convrot");
  description.rotated = rotated != nullptr && rotated->is_boolean() && rotated->get<bool>();
  const json* group = find("convrot_groupsize");
  WAN_CHECK(!description.rotated || group == nullptr || *group == formats::I8Rotated256::kValues,
            kUnsupported, "[{}] was rotated in groups of {}; groups of {} are read: {}", where, group->dump(),
            formats::I8Rotated256::kValues, kReadInstead);
  WAN_CHECK(!description.rotated || description.codes == DType::kI8, kUnsupported,
            "[{}] was rotated and is not int8, which is not read; {}", where, kReadInstead);
  return description;
}

/// The layer's name where `name` ends in `suffix`.
std::optional<std::string> layer_of(const std::string& name, std::string_view suffix) {
  if (name.size() <= suffix.size() || !name.ends_with(suffix)) return std::nullopt;
  return name.substr(0, name.size() - suffix.size());
}

bool is_marker(const std::string& name) {
  return name == kMarker || name.ends_with(std::string(".") + kMarker);
}

class ScaleReader {
 public:
  ScaleReader(std::vector<CheckpointFile>& files, const std::string& path) : files_(files), path_(path) {
    for (CheckpointFile& file : files_)
      for (TensorEntry& tensor : file.tensors) by_name_.emplace(tensor.name, &tensor);
  }

  void run() {
    refuse();
    read_descriptions();
    attach();
    check_described();
    check_bare();
    for (CheckpointFile& file : files_)
      std::erase_if(file.tensors, [&](const TensorEntry& tensor) { return used_.contains(tensor.name); });
    for (auto& [tensor, name] : renamed_) rename(tensor, name);
  }

 private:
  std::string where(const std::string& name) const { return path_ + ": tensor " + quote_name(name); }

  TensorEntry* find(const std::string& name) const {
    const auto found = by_name_.find(name);
    return found != by_name_.end() ? found->second : nullptr;
  }

  void refuse() const {
    for (const auto& [name, tensor] : by_name_)
      for (const Refusal& refusal : kRefused)
        WAN_CHECK(!layer_of(name, refusal.suffix), kUnsupported, "[{}] belongs to {}, which is not read; {}",
                  where(name), refusal.format, kReadInstead);
  }

  void read_descriptions() {
    for (const auto& [name, tensor] : by_name_) {
      if (is_marker(name)) {
        used_.insert(name);
        // The bytes of fp8 may be called U8: the marker's type tells which they are.
        marker_ = tensor->dtype == DType::kF8E5M2 ? DType::kF8E5M2 : DType::kF8E4M3;
      }
      const std::optional<std::string> layer = layer_of(name, kDescription);
      if (!layer) continue;
      WAN_CHECK(tensor->dtype == DType::kU8, kBadFile, "[{}] expected JSON in u8, got {}; {}", where(name),
                dtype_name(tensor->dtype), kDamaged);
      used_.insert(name);
      described_[*layer] = read_description(parse_strict_json(tensor->storage, where(name), 4), where(name));
    }
    for (const CheckpointFile& file : files_) read_metadata(file);
  }

  /// Layers of the header's description may lack the prefix that the tensors have.
  void read_metadata(const CheckpointFile& file) {
    const auto text = file.metadata.find("_quantization_metadata");
    if (text == file.metadata.end()) return;
    const std::string place = path_ + ": _quantization_metadata";
    const json metadata = parse_strict_json(text->second, place, 6);
    WAN_CHECK(metadata.is_object() && metadata.contains("layers") && metadata["layers"].is_object(), kBadFile,
              "[{}] expected an object with \"layers\"; {}", place, kDamaged);
    constexpr int kMostPrefixes = 4;  // "model.diffusion_model." has two
    std::unordered_map<std::string, std::string>
        full;  // by a layer's name, and by its ends; empty: of several
    for (const auto& [name, tensor] : by_name_) {
      const std::optional<std::string> layer = layer_of(name, ".weight");
      if (!layer) continue;
      full[*layer] = *layer;
      std::size_t dot = layer->find('.');
      for (int i = 0; i < kMostPrefixes && dot != std::string::npos; dot = layer->find('.', dot + 1), ++i) {
        const std::string end = layer->substr(dot + 1);
        if (find(end + ".weight") != nullptr) continue;
        const auto [known, is_new] = full.emplace(end, *layer);
        if (!is_new) known->second.clear();
      }
    }
    for (const auto& [name, layer] : metadata["layers"].items()) {
      const std::string at = place + ": " + quote_name(name);
      const auto found = full.find(name);
      WAN_CHECK(found != full.end(), kBadFile, "[{}] there is no weight of this layer; {}", at, kDamaged);
      WAN_CHECK(!found->second.empty(), kBadFile, "[{}] several weights end so; {}", at, kDamaged);
      described_[found->second] = read_description(layer, at);
    }
  }

  void attach() {
    for (const auto& [name, tensor] : by_name_) {
      for (const char* suffix : kActivationScales)
        if (layer_of(name, suffix)) used_.insert(name);
      for (const Suffix& suffix : kScales) {
        const std::optional<std::string> layer = layer_of(name, suffix.text);
        if (!layer) continue;
        used_.insert(name);
        attach_one(*tensor, *layer, suffix.weight);
      }
    }
  }

  void attach_one(const TensorEntry& scale, const std::string& layer, const char* weight_suffix) {
    TensorEntry* weight = find(layer + weight_suffix);
    WAN_CHECK(weight != nullptr, kBadFile, "[{}] is a scale without its weight {}; {}", where(scale.name),
              quote_name(layer + weight_suffix), kDamaged);
    const auto described = described_.find(layer);
    if (weight->dtype == DType::kU8) {
      const std::optional<DType> codes = described != described_.end() ? described->second.codes : marker_;
      if (codes && *codes != DType::kI8) weight->dtype = *codes;
    }
    const bool codes = is_f8(weight->dtype) || weight->dtype == DType::kI8;
    WAN_CHECK(codes, kBadFile,
              "[{}] is the scale of a weight in {}, which has none: expected fp8 or int8; the file is "
              "damaged, or of a "
              "format that is not read",
              where(scale.name), dtype_name(weight->dtype));
    WAN_CHECK(weight->scales == nullptr, kBadFile, "[{}] has two scales; {}", where(weight->name), kDamaged);
    WAN_CHECK(weight->view().is_contiguous(), kUnsupported,
              "[{}] has a scale and is not row-major; save a contiguous() copy of it", where(weight->name));
    auto scales = std::make_shared<CodeScales>(scales_of(scale, *weight));
    if (described != described_.end()) scales->rotated = described->second.rotated;
    const std::int64_t columns = weight->elements() / weight->shape[0];
    WAN_CHECK(!scales->rotated || (weight->shape.rank() == 2 && scales->columns == columns &&
                                   columns % formats::I8Rotated256::kValues == 0),
              kUnsupported, "[{}] {} was rotated: expected rows of a multiple of {} with one scale each; {}",
              where(weight->name), weight->shape.to_string(), formats::I8Rotated256::kValues, kReadInstead);
    weight->scales = std::move(scales);
    if (!weight->name.ends_with(".weight")) renamed_.emplace_back(weight->name, layer + ".weight");
  }

  /// One of all, one a row, or one a block of rows and columns.
  CodeScales scales_of(const TensorEntry& scale, const TensorEntry& weight) const {
    WAN_CHECK(is_floating(scale.dtype), kUnsupported, "[{}] expected a scale in f32, bf16 or f16, got {}; {}",
              where(scale.name), dtype_name(scale.dtype), kReadInstead);
    WAN_CHECK(weight.shape.rank() >= 1 && weight.elements() > 0, kBadFile, "[{}] scales a tensor {}; {}",
              where(scale.name), weight.shape.to_string(), kDamaged);
    const std::int64_t rows = weight.shape[0];
    const std::int64_t columns = weight.elements() / rows;
    std::int64_t down = 1;
    std::int64_t across = 1;
    if (scale.elements() != 1) {
      down = scale.shape[0];
      across = scale.elements() / std::max<std::int64_t>(down, 1);
    }
    CodeScales scales;
    const auto extent = [](std::int64_t whole, std::int64_t parts) {
      return parts >= 1 && parts <= whole ? (whole + parts - 1) / parts : 0;
    };
    scales.rows = extent(rows, down);
    scales.columns = extent(columns, across);
    const bool fits = scales.rows > 0 && scales.columns > 0 &&
                      (rows + scales.rows - 1) / scales.rows == down &&
                      (columns + scales.columns - 1) / scales.columns == across;
    WAN_CHECK(
        fits, kBadFile,
        "[{}] {} does not scale {}: expected one number, one for each row, or one for each block of rows and "
        "columns; {}",
        where(scale.name), scale.shape.to_string(), weight.shape.to_string(), kDamaged);
    scales.values.resize(static_cast<std::size_t>(scale.elements()));
    convert_part(scale, 0, TensorView(scales.values.data(), DType::kF32, {scale.elements()}));
    for (const float value : scales.values)
      WAN_CHECK(std::isfinite(value), kBadFile, "[{}] holds a scale that is not finite; {}",
                where(scale.name), kDamaged);
    return scales;
  }

  void check_described() const {
    for (const auto& [layer, description] : described_) {
      const TensorEntry* weight = find(layer + ".weight");
      WAN_CHECK(weight != nullptr && weight->dtype == *description.codes, kBadFile,
                "[{}] is said to be in {}, and is {}; {}", where(layer + ".weight"),
                dtype_name(*description.codes), weight != nullptr ? dtype_name(weight->dtype) : "missing",
                kDamaged);
    }
  }

  /// Integers mean nothing without a scale.
  void check_bare() const {
    for (const auto& [name, tensor] : by_name_)
      WAN_CHECK(tensor->dtype != DType::kI8 || tensor->scales != nullptr ||
                    !(name.ends_with(".weight") || name.ends_with("._data")),
                kBadFile, "[{}] is int8 without a scale; {}", where(name), kDamaged);
  }

  void rename(const std::string& from, const std::string& to) {
    for (CheckpointFile& file : files_)
      for (TensorEntry& tensor : file.tensors)
        if (tensor.name == from) tensor.name = to;
  }

  std::vector<CheckpointFile>& files_;
  const std::string& path_;
  std::unordered_map<std::string, TensorEntry*> by_name_;
  std::unordered_map<std::string, Description> described_;  // by layer
  std::optional<DType> marker_;
  std::set<std::string> used_;                                // names of what is no weight
  std::vector<std::pair<std::string, std::string>> renamed_;  // weights, and what they are called from now on
};

}  // namespace

void attach_scales(std::vector<CheckpointFile>& files, const std::string& path) {
  ScaleReader(files, path).run();
}

}  // namespace wan
