// What the variables of launchers say.

#include <gtest/gtest.h>

#include <map>

#include "parallel/mpi/launch.h"

namespace wan {
namespace {

Launch launch_with(const std::map<std::string, const char*>& variables) {
  return find_launch([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second;
  });
}

TEST(Launch, APlainStartIsAlone) {
  EXPECT_EQ(launch_with({}).size, 1);
  EXPECT_EQ(launch_with({{"OMPI_COMM_WORLD_SIZE", "1"}, {"OMPI_COMM_WORLD_RANK", "0"}}).size, 1);
  EXPECT_EQ(launch_with({{"OMPI_COMM_WORLD_SIZE", "two"}, {"OMPI_COMM_WORLD_RANK", "0"}}).size, 1);
  // A batch script, in an allocation of four tasks: none of them is started by srun.
  EXPECT_EQ(launch_with({{"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}, {"SLURM_LOCALID", "0"}}).size, 1);
  EXPECT_EQ(launch_with({{"SLURM_STEP_NUM_TASKS", "1"}, {"SLURM_PROCID", "0"}, {"PMIX_RANK", "0"}}).size, 1);
}

TEST(Launch, MpirunOfOpenMpiAndOfMpich) {
  const Launch open =
      launch_with({{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "3"}, {"PMIX_RANK", "3"}});
  EXPECT_EQ(open.size, 4);
  EXPECT_EQ(open.rank, 3);
  EXPECT_STREQ(open.launcher, "mpirun");
  const Launch mpich = launch_with({{"PMI_SIZE", "2"}, {"PMI_RANK", "1"}});
  EXPECT_EQ(mpich.size, 2);
  EXPECT_EQ(mpich.rank, 1);
}

TEST(Launch, SrunByItsPlugins) {
  const std::map<std::string, const char*> step = {{"SLURM_STEP_NUM_TASKS", "3"}, {"SLURM_PROCID", "2"}};
  auto pmix = step;
  pmix["PMIX_RANK"] = "2";
  EXPECT_EQ(launch_with(pmix).size, 3);
  EXPECT_EQ(launch_with(pmix).rank, 2);
  EXPECT_TRUE(launch_with(pmix).connects);
  EXPECT_STREQ(launch_with(pmix).launcher, "srun");
  auto pmi = step;
  pmi["PMI_SIZE"] = "3";
  pmi["PMI_RANK"] = "2";
  EXPECT_TRUE(launch_with(pmi).connects);
  const Launch none = launch_with(step);
  EXPECT_EQ(none.size, 3);
  EXPECT_EQ(none.rank, 2);
  EXPECT_FALSE(none.connects);
}

/// mpirun inside an allocation finds Slurm's variables too.
TEST(Launch, MpirunWithinSlurm) {
  const Launch launch = launch_with({{"SLURM_STEP_NUM_TASKS", "2"},
                                     {"SLURM_PROCID", "0"},
                                     {"OMPI_COMM_WORLD_SIZE", "4"},
                                     {"OMPI_COMM_WORLD_RANK", "1"}});
  EXPECT_EQ(launch.size, 4);
  EXPECT_EQ(launch.rank, 1);
  EXPECT_STREQ(launch.launcher, "mpirun");
}

}  // namespace
}  // namespace wan
