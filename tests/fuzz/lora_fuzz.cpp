// libFuzzer target: a LoRA's file, merged into a small transformer. Everything but wan::Error is a finding, and so is a part of a changed
// weight that is not what the whole of it has there.

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"
#include "layouts/lora.h"
#include "weights/convert.h"
#include "weights/weight_change.h"

namespace {

wan::Checkpoint make_transformer() {
  static constexpr std::array<float, 64> kValues{0.5f, -0.25f, 1.0f};
  wan::CheckpointFile file;
  const auto add = [&](const char* name, const wan::Shape& shape) {
    const auto bytes =
        std::as_bytes(std::span(kValues)).first(static_cast<std::size_t>(shape.elements()) * sizeof(float));
    file.tensors.push_back({.name = name,
                            .dtype = wan::DType::kF32,
                            .shape = shape,
                            .strides = wan::contiguous_strides(shape),
                            .storage = bytes,
                            .file = "transformer"});
  };
  add("blocks.0.cross_attn.q.weight", {4, 6});
  add("blocks.0.cross_attn.q.bias", {4});
  add("blocks.0.modulation", {1, 6, 4});
  add("blocks.0.norm3.weight", {4});
  add("blocks.0.self_attn.q.weight", {4, 4});
  add("head.head.weight", {6, 4});
  add("patch_embedding.weight", {4, 2, 1, 2, 2});
  return wan::Checkpoint::from_files({file}, "transformer");
}

/// A file in memory that holds what is tried.
int file_of(std::span<const std::uint8_t> bytes) {
  static const int fd = memfd_create("lora", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, 0) != 0 ||
      pwrite(fd, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    std::abort();
  return fd;
}

void read_changed(const wan::TensorEntry& entry) {
  const std::int64_t count = entry.elements();
  const wan::Tensor all(wan::DType::kF32, {count});
  wan::convert_changed(entry, 0, all);
  const std::int64_t first = count / 3;
  const wan::Tensor part(wan::DType::kF32, {count - first - 1});
  wan::convert_changed(entry, first, part);
  for (std::int64_t i = 0; i < part.elements(); ++i) {
    const float in_part = part.as<float>()[i];
    const float in_all = all.as<float>()[first + i];
    if (in_part != in_all && !(std::isnan(in_part) && std::isnan(in_all))) std::abort();
  }
  const wan::WeightFactors* const factors = entry.change->factors();
  if (factors == nullptr) return;
  for (const wan::TensorEntry* factor : {&factors->up, &factors->down}) {
    const wan::Tensor values(wan::DType::kF32, factor->shape);
    wan::convert_changed(*factor, 0, values);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const wan::Checkpoint transformer = make_transformer();
  const wan::LoraUse use{.file = "/proc/self/fd/" + std::to_string(file_of({data, size})), .strength = 0.75};
  for (const bool low_noise : {false, true}) {
    try {
      const wan::LoraMerge merge =
          wan::merge_loras(transformer, {&use, 1}, "low-noise expert", low_noise, low_noise);
      for (const wan::TensorEntry& entry : merge.transformer.entries())
        if (entry.change != nullptr) read_changed(entry);
    } catch (const wan::Error&) {
    }
  }
  return 0;
}
