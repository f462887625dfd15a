#pragma once
// Launch: whether mpirun or srun started this process as one of several.

#include <functional>
#include <string>

namespace wan {

/// What the launcher says of this process.
struct Launch {
  int rank = 0;
  int size = 1;                     // processes; 1: started alone
  const char* launcher = "mpirun";  // for messages
  bool connects = true;             // whether the launcher offers MPI a way to the other processes
};

/// From the variables that launchers set, as `variable` gives them: nullptr for one that is not set.
Launch find_launch(const std::function<const char*(const char* name)>& variable);
/// Of this process's environment.
Launch find_launch();

}  // namespace wan
