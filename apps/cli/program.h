#pragma once

namespace wan {

/// The whole program: its arguments are those of main(), its result the exit status. Throws nothing.
int run_program(int argc, char** argv);

}  // namespace wan
