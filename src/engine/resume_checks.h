#pragma once
// Going on from kept latents: what they fix of a run's settings, and which file the latents of a run go to.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/settings_resolver.h"
#include "kept/recovery.h"
#include "kept/saved_latents.h"
#include "wan/request.h"

namespace wan {

/// The settings that kept latents were begun with. Throws BadFile where they are not whole for their task, InvalidArgument where an
/// option contradicts them. What is
/// worth knowing goes to `notices`.
GenerationSettings kept_settings(const GenerationRequest& request, const SavedLatents& saved,
                                 const CheckpointModels& models, const EngineFacts& engine,
                                 std::vector<std::string>& notices);

/// Size and frames of another program's latents, from their shape, as a request would have them. Throws InvalidArgument
/// where the request contradicts them.
void take_size_of_latents(const GenerationRequest& request, const SavedLatents& saved, const VaeGeometry& vae,
                          GenerationSettings& settings);

/// What an unfinished run's images became must have the shape [C, F', h, w] that the task's pipeline takes for latents of
/// shape `latent`. Throws BadFile.
void check_kept_condition(const SavedLatents& saved, const GenerationSettings& settings, const Shape& latent,
                          const CheckpointModels& models);

/// Where the run's latents go. Unless the request names a file, that is one beside the video: under the first name that
/// is free, holds what an earlier run left there by itself, or is what this run goes on from. That last one stays in the
/// end if someone put it there.
LatentsFile choose_latents_file(const GenerationRequest& request, const std::optional<SavedLatents>& resumed);

}  // namespace wan
