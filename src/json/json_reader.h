#pragma once
// Typed reading of untrusted JSON (json/strict_json.h): every access names the place it is at, and a wrong type or a missing
// member is a BadFile error that names it.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace wan {

class JsonReader {
 public:
  /// A view of `value`, which must outlive it; `place` is its name in messages ("tokenizer.json").
  JsonReader(const nlohmann::json& value, std::string place) : value_(&value), place_(std::move(place)) {}

  const std::string& place() const { return place_; }
  bool is_null() const { return value_->is_null(); }
  bool is_string() const { return value_->is_string(); }
  bool is_integer() const { return value_->is_number_integer(); }

  /// The member of an object; nothing where it is missing or null.
  std::optional<JsonReader> find(const std::string& key) const;
  JsonReader at(const std::string& key) const;
  std::vector<JsonReader> elements() const;
  /// Names and values of an object's members.
  std::vector<std::pair<std::string, JsonReader>> members() const;

  std::string text() const;
  bool boolean() const;
  double number() const;
  std::int64_t integer() const;  // 0 to 2^31 - 1
  std::int64_t size() const;     // 0 to 2^62, of bytes

  bool boolean_or(const std::string& key, bool otherwise) const;

 private:
  [[noreturn]] void fail_type(const char* expected) const;

  const nlohmann::json* value_;
  std::string place_;
};

}  // namespace wan
