#pragma once
// What of a request makes a video of a character that moves as another video does.

#include <string>
#include <vector>

#include "engine/loaded_models.h"
#include "settings/settings.h"
#include "wan/request.h"

namespace wan {

/// What a request asks of animation is of a task that takes it, and within its range, before any file is read. Throws InvalidArgument.
void check_animation_options(const GenerationRequest& request, const TaskFacts& task);

/// The settings of a new run but for what follows from the source: see take_animation_source(). `usual_clip_frames` are the checkpoint's
/// "frame_num". Throws InvalidArgument where no clip is so long.
AnimationSettings animation_settings_of(const GenerationRequest& request, int usual_clip_frames);

/// Size, rate and length of a new run are the source's; that of a run that goes on must be what it was begun with. Throws BadFile and
/// InvalidArgument, naming the member.
void take_animation_source(const GenerationRequest& request, const CheckpointModels& models, bool new_run,
                           GenerationSettings& settings, std::vector<std::string>& notices);

}  // namespace wan
