#pragma once
// Settings of a small run for tests of what is kept of it.

#include "settings/settings.h"

namespace wan::test {

inline GenerationSettings kept_run_settings() {
  GenerationSettings settings;
  settings.task = "t2v-A14B";
  settings.prompt = "a red circle";
  settings.size = {16, 16};
  settings.frame_num = 5;
  settings.fps = 16;
  settings.steps = 40;
  settings.shift = 5;
  settings.guide_scale = {3, 4};
  settings.boundary = 0.875;
  settings.model = "golden";
  settings.precision = "fp32";
  return settings;
}

}  // namespace wan::test
