#pragma once
// A small video of the golden checkpoint, which the engine's tests ask for.

#include <gtest/gtest.h>

#include <string>

#include "support/golden_checkpoint.h"
#include "support/temp_folder.h"
#include "wan/engine.h"

namespace wan::test {

class EngineTest : public testing::Test {
 protected:
  GenerationRequest request() const {
    GenerationRequest request;
    request.prompt = prompt_;
    request.negative_prompt = negative_prompt_;
    request.size = VideoSize{128, 64};
    request.frame_num = 5;
    request.sample_steps = 2;
    request.seed = 1;
    request.save_file = folder_ / "video.mp4";
    return request;
  }
  MemoryPlan plan(const std::string& residency, std::int64_t limit, bool keep_models = true) const {
    return Engine({.ckpt_dir = kCheckpoint,
                   .residency = residency,
                   .keep_models = keep_models,
                   .memory_limit = limit})
        .plan(request());
  }
  std::string prompt_ = "a red circle";
  std::string negative_prompt_ = "blurry";
  TempFolder folder_;
};

}  // namespace wan::test
