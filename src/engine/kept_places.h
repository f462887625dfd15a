#pragma once
// Which files a run keeps its latents in, what earlier runs have left there, and whether there is room.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kept/recovery.h"
#include "kept/saved_latents.h"
#include "wan/request.h"

namespace wan {

/// Throws InvalidArgument for a keep_every or keep_dir that cannot be.
void check_keeping(const GenerationRequest& request);

/// load_latents(); where they are damaged, the error names the state that was kept before them.
SavedLatents load_kept_latents(const std::filesystem::path& path);

/// Where the run's latents go. Finished ones go to the file that the request names. All others, and unfinished ones where that
/// file is another run's, go to one in keep_dir, or beside the video: under the first name that is free, or is what this run goes
/// on from, which stays in the end if someone put it there. Nothing that another run has kept is overwritten; a run that goes on
/// from nothing tells what it could have gone on from in `notices`.
LatentsFile choose_latents_file(const GenerationRequest& request, const std::optional<SavedLatents>& resumed,
                                std::vector<std::string>& notices);

/// Every file that a run makes of `file` where all disks have room, each once.
std::vector<std::filesystem::path> latents_files(const LatentsFile& file);

/// What a state in the last of `segments` takes on disk, in bytes: so many slots of the sampler, latents of the segments before it, each
/// [z, F, h, w], and what images became.
std::int64_t state_bytes(int slots, const Shape& latent, const Shape& condition, int segments = 1);

/// Adds a notice where no place of `file` has room for such a state; `often`: for a second generation and the file that becomes the
/// next one as well.
void tell_missing_room(const LatentsFile& file, std::int64_t bytes, bool often,
                       std::vector<std::string>& notices);

}  // namespace wan
