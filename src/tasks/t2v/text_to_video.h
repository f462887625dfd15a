#pragma once
// Text to video (T2V-A14B): one segment, made from text and noise alone.

#include "tasks/task.h"

namespace wan {

class TextToVideo final : public Task {
 public:
  TextToVideo();
  /// wan/configs/wan_t2v_A14B.py of the official code.
  ModelDefaults defaults() const override;
  WanConfig published_transformer() const override;
  void run(Run& run, const RunInputs& inputs) const override;
};

}  // namespace wan
