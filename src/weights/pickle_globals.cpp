#include "weights/pickle_globals.h"

#include <array>

namespace wan {

namespace {

struct KnownGlobal {
  std::string_view module;
  std::string_view name;
  PickleGlobalFacts facts;
};

// torch/_utils.py, torch/storage.py, torch/__init__.py of PyTorch 1.6 to 2.x
constexpr std::array kKnownGlobals{
    KnownGlobal{"collections", "OrderedDict", {PickleGlobal::kOrderedDict}},
    KnownGlobal{"torch._utils", "_rebuild_tensor_v2", {PickleGlobal::kRebuildTensor}},
    KnownGlobal{"torch._utils", "_rebuild_tensor_v3", {PickleGlobal::kRebuildTypedTensor}},
    KnownGlobal{"torch._utils", "_rebuild_parameter", {PickleGlobal::kRebuildParameter}},
    KnownGlobal{"torch", "DoubleStorage", {PickleGlobal::kStorageType, DType::kF64}},
    KnownGlobal{"torch", "FloatStorage", {PickleGlobal::kStorageType, DType::kF32}},
    KnownGlobal{"torch", "HalfStorage", {PickleGlobal::kStorageType, DType::kF16}},
    KnownGlobal{"torch", "BFloat16Storage", {PickleGlobal::kStorageType, DType::kBF16}},
    KnownGlobal{"torch", "LongStorage", {PickleGlobal::kStorageType, DType::kI64}},
    KnownGlobal{"torch", "IntStorage", {PickleGlobal::kStorageType, DType::kI32}},
    KnownGlobal{"torch", "CharStorage", {PickleGlobal::kStorageType, DType::kI8}},
    KnownGlobal{"torch", "ByteStorage", {PickleGlobal::kStorageType, DType::kU8}},
    KnownGlobal{"torch", "BoolStorage", {PickleGlobal::kStorageType, DType::kBool}},
    KnownGlobal{"torch.storage", "UntypedStorage", {PickleGlobal::kStorageType, DType::kU8}},
    KnownGlobal{"torch", "float8_e4m3fn", {PickleGlobal::kDType, DType::kF8E4M3}},
    KnownGlobal{"torch", "float8_e5m2", {PickleGlobal::kDType, DType::kF8E5M2}},
};

}  // namespace

std::optional<PickleGlobalFacts> find_pickle_global(std::string_view module, std::string_view name) {
  for (const KnownGlobal& known : kKnownGlobals)
    if (known.module == module && known.name == name) return known.facts;
  return std::nullopt;
}

}  // namespace wan
