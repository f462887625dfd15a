#include "support/tap_recorder.h"

#include "support/compare.h"
#include "weights/convert.h"

namespace wan::test {

Taps TapRecorder::listener() {
  return [this](std::string_view name, const TensorView& output) {
    Tensor copy(output.dtype(), output.shape());
    convert(output, copy, {.threads = 1});
    calls_[std::string(name)].push_back(std::move(copy));
  };
}

::testing::AssertionResult taps_match(const TapRecorder& recorder, const GoldenFile& golden,
                                      const TapExpectation& expectation) {
  std::string problems;
  const std::vector<std::string> names = golden.names("tap.");
  if (names.empty()) problems += "\n  the golden file holds no taps";
  for (const std::string& name : names) {
    const auto found = recorder.calls().find(expectation.prefix + name);
    if (found == recorder.calls().end()) {
      problems += "\n  " + name + ": never shown";
      continue;
    }
    if (found->second.size() != 1) {
      problems += "\n  " + name + ": shown " + std::to_string(found->second.size()) + " times";
      continue;
    }
    const auto result =
        all_close(found->second.front(), golden.expected("tap." + name), expectation.relative_rms);
    if (!result) problems += "\n  " + name + ": " + result.message();
  }
  if (expectation.coverage == TapCoverage::kEveryLayer) {
    for (const auto& [name, calls] : recorder.calls()) {
      const bool known =
          name.starts_with(expectation.prefix) && golden.has("tap." + name.substr(expectation.prefix.size()));
      if (!known) problems += "\n  " + name + ": shown, not in the golden file";
    }
  }
  if (problems.empty()) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "layers differ from the reference:" << problems;
}

}  // namespace wan::test
