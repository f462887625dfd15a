#include "parallel/mpi/launch.h"

#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>

namespace wan {

Launch find_launch(const std::function<const char*(const char* name)>& variable) {
  const auto number = [&](const char* name) -> std::optional<int> {
    const char* const text = variable(name);
    if (text == nullptr) return std::nullopt;
    const std::string_view digits(text);
    int value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size() || value < 0) return std::nullopt;
    return value;
  };
  struct Names {
    const char* size;
    const char* rank;
  };
  // srun counts its step's tasks itself. Its PMIx plugin gives a rank alone, its PMI-2 plugin, as MPICH's mpirun, both.
  const std::optional<int> tasks = number("SLURM_STEP_NUM_TASKS");
  const char* const launcher = tasks && number("OMPI_COMM_WORLD_SIZE") == std::nullopt ? "srun" : "mpirun";
  for (const Names& names : {Names{"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"},
                             Names{"PMI_SIZE", "PMI_RANK"}, Names{"SLURM_STEP_NUM_TASKS", "PMIX_RANK"}}) {
    const auto size = number(names.size);
    const auto rank = number(names.rank);
    if (size && rank && *size > 1) return {.rank = *rank, .size = *size, .launcher = launcher};
  }
  const auto rank = number("SLURM_PROCID");
  if (tasks && rank && *tasks > 1 && !number("PMIX_RANK") && !number("PMI_RANK"))
    return {.rank = *rank, .size = *tasks, .launcher = launcher, .connects = false};
  return {};
}

Launch find_launch() {
  return find_launch([](const char* name) -> const char* { return std::getenv(name); });
}

}  // namespace wan
