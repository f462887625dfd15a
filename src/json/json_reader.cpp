#include "json/json_reader.h"

#include "base/error.h"
#include "base/untrusted_text.h"

namespace wan {

std::optional<JsonReader> JsonReader::find(const std::string& key) const {
  if (!value_->is_object()) fail_type("an object");
  const auto found = value_->find(key);
  if (found == value_->end() || found->is_null()) return std::nullopt;
  return JsonReader(*found, place_ + "." + shortened(key));
}

JsonReader JsonReader::at(const std::string& key) const {
  const auto member = find(key);
  WAN_CHECK(member, kBadFile, "[{}] expected a member \"{}\", there is none; replace the file", place_,
            shortened(key));
  return *member;
}

std::vector<JsonReader> JsonReader::elements() const {
  if (!value_->is_array()) fail_type("an array");
  std::vector<JsonReader> out;
  out.reserve(value_->size());
  for (const auto& element : *value_) out.emplace_back(element, place_ + "[]");
  return out;
}

std::vector<std::pair<std::string, JsonReader>> JsonReader::members() const {
  if (!value_->is_object()) fail_type("an object");
  std::vector<std::pair<std::string, JsonReader>> out;
  for (const auto& [key, value] : value_->items())
    out.emplace_back(key, JsonReader(value, place_ + "." + shortened(key)));
  return out;
}

std::string JsonReader::text() const {
  if (!value_->is_string()) fail_type("a string");
  return value_->get<std::string>();
}

bool JsonReader::boolean() const {
  if (!value_->is_boolean()) fail_type("true or false");
  return value_->get<bool>();
}

double JsonReader::number() const {
  if (!value_->is_number()) fail_type("a number");
  return value_->get<double>();
}

std::int64_t JsonReader::integer() const {
  if (!value_->is_number_integer()) fail_type("an integer");
  const bool fits = value_->is_number_unsigned() ? value_->get<std::uint64_t>() <= INT32_MAX
                                                 : value_->get<std::int64_t>() >= 0;
  if (!fits) fail_type("an integer from 0 to 2^31 - 1");
  return value_->get<std::int64_t>();
}

std::int64_t JsonReader::size() const {
  constexpr std::int64_t kMost = std::int64_t{1} << 62;
  if (!value_->is_number_integer()) fail_type("an integer");
  const bool fits = value_->is_number_unsigned() ? value_->get<std::uint64_t>() <= std::uint64_t{kMost}
                                                 : value_->get<std::int64_t>() >= 0;
  if (!fits) fail_type("a size in bytes");
  return value_->get<std::int64_t>();
}

bool JsonReader::boolean_or(const std::string& key, bool otherwise) const {
  const auto member = find(key);
  return member ? member->boolean() : otherwise;
}

void JsonReader::fail_type(const char* expected) const {
  fail(ErrorCode::kBadFile, "[{}] expected {}, got {}; replace the file", place_, expected,
       value_->type_name());
}

}  // namespace wan
