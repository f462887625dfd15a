#pragma once
// wan generate --requests: many videos from weights that are loaded once.

#include "generate_options.h"

namespace wan {

/// Makes what the file options.requests asks for, each line's options over these. Everything is checked before anything is loaded;
/// what cannot be made is told, the rest is made. Throws Error with the code of the first line that failed, Cancelled where the run was
/// stopped.
void make_requests(const GenerateOptions& options);

}  // namespace wan
