#pragma once
// From the bytes of an ONNX file to a Graph.

#include <memory>
#include <span>
#include <string>

#include "onnx/external_data.h"
#include "onnx/graph.h"

namespace wan::onnx {

/// `bytes` are those of the file `name`; constants in it refer to them, and `keep` holds them. Names are defined once, before they are
/// used; every constant has the bytes that its shape says. Which operators can be run, and whether shapes fit, is a session's to
/// say. Throws BadFile.
std::shared_ptr<const Graph> read_graph(std::span<const std::byte> bytes, const std::string& name,
                                        ExternalFiles& external, const std::shared_ptr<const void>& keep);

}  // namespace wan::onnx
