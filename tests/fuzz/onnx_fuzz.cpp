// libFuzzer target: an ONNX file, read and planned for inputs of its own shapes on a device that computes nothing. Everything but
// wan::Error is a finding.

#include <cstdint>

#include "base/error.h"
#include "onnx/reader.h"
#include "onnx/session.h"
#include "ops/counting_backend.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    wan::onnx::ExternalFiles none{{}};
    const wan::onnx::Model model(wan::onnx::read_graph(bytes, "fuzz.onnx", none, nullptr));
    std::vector<wan::Shape> shapes;
    for (const wan::onnx::ValueInfo& input : model.inputs()) {
      std::vector<std::int64_t> dims = input.dims;
      for (std::int64_t& dim : dims)
        if (dim < 0) dim = 2;
      shapes.emplace_back(dims);
    }
    wan::CountingBackend backend(wan::Device{wan::DeviceKind::kCuda, 0});
    const wan::onnx::Session session(model, backend, shapes);
  } catch (const wan::Error&) {
  }
  return 0;
}
