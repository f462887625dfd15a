#include "weights/pickle_globals.h"

#include <array>

namespace wan {

namespace {

struct Known {
  std::string_view module;
  std::string_view name;
  PickleGlobalFacts facts;
};

// torch/_utils.py, torch/storage.py, torch/__init__.py of PyTorch 1.6 to 2.x
constexpr std::array kKnown{
    Known{"collections", "OrderedDict", {PickleGlobal::kOrderedDict}},
    Known{"torch._utils", "_rebuild_tensor_v2", {PickleGlobal::kRebuildTensor}},
    Known{"torch._utils", "_rebuild_parameter", {PickleGlobal::kRebuildParameter}},
    Known{"torch", "DoubleStorage", {PickleGlobal::kStorageType, DType::kF64}},
    Known{"torch", "FloatStorage", {PickleGlobal::kStorageType, DType::kF32}},
    Known{"torch", "HalfStorage", {PickleGlobal::kStorageType, DType::kF16}},
    Known{"torch", "BFloat16Storage", {PickleGlobal::kStorageType, DType::kBF16}},
    Known{"torch", "LongStorage", {PickleGlobal::kStorageType, DType::kI64}},
    Known{"torch", "IntStorage", {PickleGlobal::kStorageType, DType::kI32}},
    Known{"torch", "ByteStorage", {PickleGlobal::kStorageType, DType::kU8}},
    Known{"torch", "BoolStorage", {PickleGlobal::kStorageType, DType::kBool}},
    Known{"torch.storage", "UntypedStorage", {PickleGlobal::kStorageType, DType::kU8}},
};

}  // namespace

std::optional<PickleGlobalFacts> find_pickle_global(std::string_view module, std::string_view name) {
  for (const Known& known : kKnown)
    if (known.module == module && known.name == name) return known.facts;
  return std::nullopt;
}

}  // namespace wan
