#pragma once
// TapRecorder: keeps every named layer output of a run, and holds it against a golden file.

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "ops/exec_context.h"
#include "support/golden.h"

namespace wan::test {

class TapRecorder {
 public:
  /// For ExecContext::taps; the recorder must outlive it. Outputs are copied, in the order of their calls. Host
  /// tensors only.
  Taps listener();

  /// By name, one tensor a call.
  const std::map<std::string, std::vector<Tensor>>& calls() const { return calls_; }
  void clear() { calls_.clear(); }

 private:
  std::map<std::string, std::vector<Tensor>> calls_;
};

/// Which layers a golden file holds.
enum class TapCoverage {
  kEveryLayer,  // a tap that the file lacks is an error
  kSomeLayers,  // taps that the file lacks are not looked at
};

struct TapExpectation {
  std::string prefix;  // before the golden file's names in the recorder's: "high_noise_model."
  TapCoverage coverage = TapCoverage::kEveryLayer;
  double relative_rms = 0;
};

/// Passes where every array "tap.NAME" of the file was shown once, as prefix + NAME, with the same shape and
/// within the tolerance; the message lists all that were not, the first in the file's order of names and the
/// rest after it.
::testing::AssertionResult taps_match(const TapRecorder& recorder, const GoldenFile& golden,
                                      const TapExpectation& expectation);

}  // namespace wan::test
