// wan inspect: what a checkpoint file, model folder or whole directory holds.

#include <fmt/ranges.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "commands.h"
#include "json/json_text.h"
#include "option_names.h"
#include "output.h"
#include "wan/tools.h"

namespace wan {

namespace {

struct InspectOptions {
  std::string path;
  bool tensors = false;
  bool json = false;
};

nlohmann::ordered_json as_json(const InspectedModel& model) {
  nlohmann::ordered_json dimensions = nlohmann::ordered_json::object();
  for (const auto& [key, value] : model.dimensions) dimensions[key] = value;
  nlohmann::ordered_json tensors = nlohmann::ordered_json::array();
  for (const InspectedTensor& tensor : model.tensors)
    tensors.push_back(
        {{"name", tensor.name}, {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"bytes", tensor.bytes}});
  return {{"path", model.path},
          {"kind", model.kind},
          {"dimensions", dimensions},
          {"bytes", model.bytes},
          {"findings", with_options(model.findings)},
          {"ignored", model.ignored},
          {"tensors", tensors}};
}

/// "bf16, fp32"
std::string dtypes_of(const InspectedModel& model) {
  std::set<std::string> dtypes;
  for (const InspectedTensor& tensor : model.tensors) dtypes.insert(tensor.dtype);
  return fmt::format("{}", fmt::join(dtypes, ", "));
}

/// "'a', 'b'"
std::string quoted(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + quote_name(name);
  return text;
}

std::string as_text(const InspectedModel& model, const InspectOptions& options) {
  std::string text = fmt::format("{}: {}", shown(model.path), shown(model.kind));
  if (!model.tensors.empty())
    text += fmt::format(", {} tensors of {}, {:.1f} MB", model.tensors.size(), dtypes_of(model),
                        static_cast<double>(model.bytes) * 1e-6);
  text += "\n";
  for (const auto& [key, value] : model.dimensions) text += fmt::format("  {:<16} {}\n", key, shown(value));
  if (!model.findings.empty()) text += fmt::format("  {}\n", shown_message(with_options(model.findings)));
  if (!model.ignored.empty()) text += fmt::format("  ignored beside it: {}\n", shown(quoted(model.ignored)));
  if (!options.tensors) return text;
  for (const InspectedTensor& tensor : model.tensors)
    text += fmt::format("  {:<56} {:<5} [{}]  {} bytes\n", shown(tensor.name), tensor.dtype,
                        fmt::join(tensor.shape, ", "), tensor.bytes);
  return text;
}

void run_inspect(const InspectOptions& options) {
  const std::vector<InspectedModel> models = inspect(options.path);
  if (options.json) {
    nlohmann::ordered_json json = nlohmann::ordered_json::array();
    for (const InspectedModel& model : models) json.push_back(as_json(model));
    write_json(json_text(json, 1));
  } else {
    for (const InspectedModel& model : models) write_output(as_text(model, options));
  }
  for (const InspectedModel& model : models)
    WAN_CHECK(model.findings.empty(), kBadFile, "{} is not a whole model", model.path);
}

}  // namespace

Command add_inspect_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("inspect", "Show what a checkpoint holds, and what is missing");
  const auto options = std::make_shared<InspectOptions>();
  command
      ->add_option("path", options->path,
                   "A .safetensors, .gguf or .pth file, a model's folder or a checkpoint directory")
      ->required();
  command->add_flag("--tensors", options->tensors, "List every tensor");
  command->add_flag("--json", options->json, "Everything as JSON");
  return [options] { run_inspect(*options); };
}

}  // namespace wan
