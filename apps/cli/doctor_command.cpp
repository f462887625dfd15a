// wan doctor: what this machine can do, and what is wrong with it.

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "commands.h"
#include "doctor_report.h"
#include "output.h"

namespace wan {

namespace {

struct AskedDoctor {
  DoctorOptions doctor;
  std::string ckpt_dir;
  bool json = false;
};

void run_doctor(AskedDoctor& asked) {
  asked.doctor.ckpt_dir = asked.ckpt_dir;
  const DoctorReport report = examine(asked.doctor);
  if (asked.json)
    write_json(doctor_json(report));
  else
    write_output(doctor_text(report));
  const auto is_problem = [](const DoctorProblem& problem) { return !problem.advice; };
  const auto first = std::find_if(report.problems.begin(), report.problems.end(), is_problem);
  if (first == report.problems.end()) return;
  const auto count = std::count_if(report.problems.begin(), report.problems.end(), is_problem);
  fail(first->code, "{} problem{} found: each with its remedy above", count, count == 1 ? "" : "s");
}

}  // namespace

Command add_doctor_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "doctor",
      "Look at this machine, its GPUs, their links and a checkpoint, and say what fits and what is wrong");
  const auto asked = std::make_shared<AskedDoctor>();
  command->add_option("--ckpt_dir", asked->ckpt_dir,
                      "A checkpoint to look through; its disk's speed is measured");
  command->add_option(
      "--pretend", asked->doctor.pretend,
      "GPUs that this machine need not have: what fits on them and how long it takes, such as \"A40 x2\", "
      "\"A40 x2 nvlink\" (or pcie, or host: without peer access)");
  command->add_flag("--json", asked->json, "Everything as JSON");
  return [asked] { run_doctor(*asked); };
}

}  // namespace wan
