#include "support/golden.h"

#include <cstdlib>
#include <cstring>
#include <sstream>

#include "base/error.h"
#include "weights/convert.h"

namespace wan::test {

namespace {

/// The environment's, for test programs that were carried to another machine.
std::filesystem::path folder_of(const char* variable, const char* built) {
  const char* const folder = std::getenv(variable);
  return folder != nullptr ? folder : built;
}

}  // namespace

std::filesystem::path golden_path(std::string_view relative) {
  return folder_of("WAN_GOLDEN_DIR", WAN_GOLDEN_DIR) / relative;
}

std::filesystem::path source_path(std::string_view relative) {
  return folder_of("WAN_SOURCE_DIR", WAN_SOURCE_DIR) / relative;
}

Tensor GoldenFile::tensor(const std::string& name) const {
  Expected expected = this->expected(name);
  WAN_CHECK(expected.step == 1, kBadFile, "{} holds a part of {}: ask for what is expected", file_.path(),
            name);
  return std::move(expected.kept);
}

Expected GoldenFile::expected(const std::string& name) const {
  const TensorEntry* entry = file_.find(name);
  WAN_CHECK(entry != nullptr, kBadFile, "{} holds no array {}", file_.path(), name);
  Expected expected{Tensor(entry->dtype, entry->shape), entry->shape};
  convert(*entry, expected.kept);
  const auto whole = file_.metadata().find("whole." + name);
  if (whole == file_.metadata().end()) return expected;
  // "9x16x48x3 every 23"
  std::istringstream text(whole->second);
  std::vector<std::int64_t> dims(1);
  std::string every;
  for (text >> dims.back(); text.peek() == 'x'; text >> dims.back()) {
    text.get();
    dims.emplace_back();
  }
  text >> every >> expected.step;
  expected.whole = Shape(std::span<const std::int64_t>(dims));
  const std::int64_t count =
      (expected.whole.elements() + expected.step - 1) / std::max<std::int64_t>(expected.step, 1);
  WAN_CHECK(!text.fail() && every == "every" && expected.step > 1 && entry->shape == Shape({count}), kBadFile,
            "{}: {} is not a part of {}", file_.path(), name, whole->second);
  return expected;
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

Tensor part_of(const TensorView& actual, const Expected& expected) {
  if (actual.empty() || !(actual.shape() == expected.whole)) return {};
  Tensor rows(actual.dtype(), actual.shape());
  convert(actual, rows, {.threads = 1});
  if (expected.step == 1) return rows;
  Tensor part(actual.dtype(), expected.kept.shape());
  const std::size_t size = dtype_size(actual.dtype());
  const auto* from = static_cast<const std::byte*>(rows.view().data());
  auto* to = static_cast<std::byte*>(part.view().data());
  for (std::int64_t i = 0; i < part.elements(); ++i)
    std::memcpy(to + static_cast<std::size_t>(i) * size,
                from + static_cast<std::size_t>(i * expected.step) * size, size);
  return part;
}

::testing::AssertionResult all_close(const TensorView& actual, const Expected& expected, double relative_rms,
                                     double max_abs) {
  const Tensor part = part_of(actual, expected);
  if (part.empty())
    return ::testing::AssertionFailure()
           << fmt::format("shape {} instead of {}", actual.empty() ? "none" : actual.shape().to_string(),
                          expected.whole.to_string());
  const Difference itself = difference(actual, actual);
  if (!itself.comparable) return ::testing::AssertionFailure() << itself.why_not;
  return all_close(part, expected.kept, relative_rms, max_abs);
}

}  // namespace wan::test
