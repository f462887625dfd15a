#include "support/golden.h"

#include <cstdlib>

#include "base/error.h"
#include "weights/convert.h"

namespace wan::test {

std::filesystem::path golden_path(std::string_view relative) {
  // The environment's, for test programs that were carried to another machine.
  const char* const source = std::getenv("WAN_SOURCE_DIR");
  return std::filesystem::path(source != nullptr ? source : WAN_SOURCE_DIR) / "tests" / "golden" / relative;
}

Tensor GoldenFile::tensor(const std::string& name) const {
  const TensorEntry* entry = file_.find(name);
  WAN_CHECK(entry != nullptr, kBadFile, "{} holds no array {}", file_.path(), name);
  Tensor copy(entry->dtype, entry->shape);
  convert(*entry, copy);
  return copy;
}

std::vector<std::int64_t> GoldenFile::integers(const std::string& name) const {
  const Tensor values = tensor(name);
  const std::int64_t* data = values.as<std::int64_t>();
  return {data, data + values.elements()};
}

std::vector<std::string> GoldenFile::names(std::string_view prefix) const {
  std::vector<std::string> found;
  for (const TensorEntry& entry : file_.entries())
    if (entry.name.starts_with(prefix)) found.push_back(entry.name.substr(prefix.size()));
  return found;
}

}  // namespace wan::test
