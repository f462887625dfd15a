#pragma once
// Several processes as one program, on one machine or several: mpirun or srun start them, one a machine or one a GPU.

#include <optional>

namespace wan {

/// To be called once, before the first Engine. In a process that was started alone, and in the first of several, it returns nothing:
/// engines that this one makes have ranks in all processes, which need no request of their own. In the others it makes their share
/// until the first one calls leave_processes(), and returns the status to exit with; they ignore SIGINT, SIGTERM and SIGHUP. Throws
/// Unsupported where the processes cannot be connected, in the first one before the others, so that it is said once.
std::optional<int> join_processes();

/// The first process's last call, once no Engine is left: the others end with this exit status. Does nothing in one that was started alone.
void leave_processes(int status) noexcept;

}  // namespace wan
