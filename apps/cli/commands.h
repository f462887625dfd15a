#pragma once
// The subcommands: each registers itself and gives back what to do when it was chosen.

#include <CLI/CLI.hpp>
#include <functional>

namespace wan {

/// Runs the chosen subcommand. Throws Error.
using Command = std::function<void()>;

Command add_bench_command(CLI::App& app);
Command add_convert_command(CLI::App& app);
Command add_doctor_command(CLI::App& app);
Command add_download_command(CLI::App& app);
Command add_extend_command(CLI::App& app);
Command add_generate_command(CLI::App& app);
Command add_inspect_command(CLI::App& app);
Command add_plan_command(CLI::App& app);
Command add_preprocess_command(CLI::App& app);
Command add_tokenize_command(CLI::App& app);

}  // namespace wan
