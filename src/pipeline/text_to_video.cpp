#include "pipeline/text_to_video.h"

namespace wan {

void text_to_video(const RunContext& run, const PipelineModels& models, const VaePlan& decode_plan,
                   const Shape& latent, const VideoOutput& output, const SavedLatents* resumed) {
  make_single_segment_video(run, models, decode_plan,
                            {.latent = latent, .condition = {}, .conditioning = {}, .given_frames = {}},
                            output, resumed);
}

}  // namespace wan
