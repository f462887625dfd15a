#pragma once
// The folder of a dump before a run writes into it: what an earlier run of this program left goes, and nothing else.

#include <filesystem>

namespace wan {

/// Throws InvalidArgument for a folder whose arrays would mix with a dump's: one that holds .npy files without a
/// manifest.json of this program. Two runs in one folder would pass for one. Also for arrays that are no regular files.
void check_dump_folder(const std::filesystem::path& folder);

/// Removes what the manifest of an earlier dump names, and the manifest. Other files stay. Does nothing where there is no
/// manifest. Throws what check_dump_folder() throws.
void clear_dump_folder(const std::filesystem::path& folder);

}  // namespace wan
