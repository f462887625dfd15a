#include "weights/weight_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "weights/naming_hint.h"

namespace wan {

namespace {

constexpr std::size_t kShown = 20;

template <typename T, typename Describe>
void append_list(std::string& text, const char* what, const std::vector<T>& list, Describe describe) {
  if (list.empty()) return;
  text += fmt::format("\n  {} {}:", list.size(), what);
  for (std::size_t i = 0; i < std::min(list.size(), kShown); ++i) text += "\n    " + describe(list[i]);
  if (list.size() > kShown) text += fmt::format("\n    and {} more", list.size() - kShown);
}

}  // namespace

WeightReport::WeightReport(Checkpoint checkpoint, std::string model)
    : checkpoint_(std::move(checkpoint)), model_(std::move(model)), used_(checkpoint_.entries().size()) {}

std::size_t WeightReport::index_of(const TensorEntry* entry) const {
  return static_cast<std::size_t>(entry - checkpoint_.entries().data());
}

const TensorEntry* WeightReport::expect(const std::string& name, const Shape& shape) {
  const TensorEntry* entry = checkpoint_.find(name);
  if (entry == nullptr) {
    missing_.emplace_back(name, shape);
    return nullptr;
  }
  used_[index_of(entry)] = true;
  if (entry->shape != shape && !(entry->joins_dimensions && entry->elements() == shape.elements())) {
    misshaped_.push_back({name, shape, entry->shape});
    return nullptr;
  }
  if (!entry->is_weight()) {
    not_floating_.push_back(name);
    return nullptr;
  }
  return entry;
}

std::vector<std::string> WeightReport::unused() const {
  std::vector<std::string> names;
  for (const TensorEntry& entry : checkpoint_.entries())
    if (!used_[index_of(&entry)]) names.push_back(entry.name);
  return names;
}

bool WeightReport::clean() const {
  return missing_.empty() && misshaped_.empty() && not_floating_.empty() &&
         std::find(used_.begin(), used_.end(), false) == used_.end();
}

std::string WeightReport::describe() const {
  const std::vector<std::string> unused_names = unused();
  std::vector<std::string> missing_names;
  for (const auto& [name, shape] : missing_) missing_names.push_back(name);

  std::string text = fmt::format("[{}] {} does not fit the model:", model_, checkpoint_.path());
  if (const std::string hint = naming_hint(missing_names, unused_names); !hint.empty()) text += " " + hint;
  append_list(text, "missing", missing_,
              [](const auto& item) { return fmt::format("{} {}", item.first, item.second.to_string()); });
  append_list(text, "of another shape", misshaped_, [](const MisshapedWeight& item) {
    return fmt::format("{}: expected {}, got {}", item.name, item.expected.to_string(),
                       item.found.to_string());
  });
  append_list(text, "not floating-point", not_floating_, [](const std::string& name) { return name; });
  append_list(text, "unused", unused_names, [](const std::string& name) { return quote_name(name); });
  if (!misshaped_.empty() && missing_.empty())
    text += "\n  the names fit and the sizes do not: its config.json belongs to another variant";
  return text;
}

void WeightReport::check() const {
  if (!clean()) fail(ErrorCode::kBadFile, "{}", describe());
}

}  // namespace wan
