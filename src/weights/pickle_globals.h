#pragma once
// The callables and types that a pickle of tensors names.

#include <cstdint>
#include <optional>
#include <string_view>

#include "tensor/dtype.h"

namespace wan {

enum class PickleGlobal : std::uint8_t {
  kOrderedDict,
  kRebuildTensor,
  kRebuildTypedTensor,
  kRebuildParameter,
  kStorageType,
  kDType
};

struct PickleGlobalFacts {
  PickleGlobal global;
  DType dtype = DType::kU8;  // of a storage type, or itself
};

/// nullopt for every name that is not needed for tensors.
std::optional<PickleGlobalFacts> find_pickle_global(std::string_view module, std::string_view name);

}  // namespace wan
