#pragma once
// What of a request makes a video from a sound: its settings, and the sound itself.

#include <optional>
#include <vector>

#include "engine/loaded_models.h"
#include "settings/settings.h"
#include "wan/request.h"

namespace wan {

/// What a request asks of speech is of a task that takes it, and within its range, before any file is read. Throws InvalidArgument.
void check_speech_options(const GenerationRequest& request, const TaskFacts& task);

/// The settings of a new run but for what follows from the sound: see read_speech_of(). `usual_clip_frames` are the checkpoint's "frame_num".
/// Throws InvalidArgument where no clip is so long.
SpeechSettings speech_settings_of(const GenerationRequest& request, int usual_clip_frames);

/// The samples of the sound, which decide how many clips a new run makes; those of a run that goes on must be what it was begun with.
/// Throws BadFile and InvalidArgument, naming the member.
std::vector<float> read_speech_of(const GenerationRequest& request, const CheckpointModels& models,
                                  bool new_run, double fps, SpeechSettings& settings);

/// The sound of the video's file; nothing for a video without one.
std::optional<SoundTrack> sound_of(const GenerationSettings& settings);

}  // namespace wan
