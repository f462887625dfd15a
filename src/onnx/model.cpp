#include "onnx/model.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "onnx/graph.h"
#include "onnx/reader.h"

namespace wan::onnx {

std::int64_t Node::integer(const char* attribute, std::int64_t otherwise) const {
  const auto found = attributes.find(attribute);
  return found != attributes.end() ? found->second.integer.value_or(otherwise) : otherwise;
}

double Node::number(const char* attribute, double otherwise) const {
  const auto found = attributes.find(attribute);
  return found != attributes.end() && found->second.number ? static_cast<double>(*found->second.number)
                                                           : otherwise;
}

std::string Node::text(const char* attribute, const char* otherwise) const {
  const auto found = attributes.find(attribute);
  return found != attributes.end() ? found->second.text.value_or(otherwise) : otherwise;
}

std::vector<std::int64_t> Node::integers(const char* attribute) const {
  const auto found = attributes.find(attribute);
  return found != attributes.end() ? found->second.integers : std::vector<std::int64_t>();
}

namespace {

/// The model of a folder.
std::filesystem::path model_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> found;
  for (const auto& path : list_folder(folder))
    if (path.extension() == ".onnx" && file_kind(path) == FileKind::kRegular) found.push_back(path);
  const auto usual = std::find_if(found.begin(), found.end(),
                                  [](const auto& path) { return path.filename() == "end2end.onnx"; });
  if (usual != found.end()) return *usual;
  WAN_CHECK(found.size() == 1, kBadFile,
            "{} has {} files of the kind .onnx, and no end2end.onnx; name the one that is meant",
            folder.string(), found.size());
  return found.front();
}

}  // namespace

Model Model::open(const std::filesystem::path& path) {
  const std::filesystem::path file = is_folder(path) ? model_in(path) : path;
  const auto mapped = std::make_shared<const MappedFile>(file);
  ExternalFiles external(file);
  auto graph = std::make_shared<Graph>(*read_graph(mapped->bytes(), file.string(), external, mapped));
  graph->files.push_back(mapped);
  return Model(std::move(graph));
}

const std::vector<ValueInfo>& Model::inputs() const {
  return graph_->inputs;
}

const std::vector<ValueInfo>& Model::outputs() const {
  return graph_->outputs;
}

const std::string& Model::name() const {
  return graph_->name;
}

void Model::check_read() const {
  for (const auto& file : graph_->files) file->check_whole();
}

}  // namespace wan::onnx
