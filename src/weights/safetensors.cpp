#include "weights/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>

#include "base/checked_math.h"
#include "base/untrusted_text.h"
#include "json/strict_json.h"
#include "weights/byte_reader.h"

namespace wan {

namespace {

using nlohmann::json;

// A tensor takes about 150 bytes of header; the largest Wan checkpoint has 1,400 of them.
constexpr std::uint64_t kMaxHeaderBytes = 16u << 20;

std::optional<DType> dtype_from_name(std::string_view name) {
  if (name == "F64") return DType::kF64;
  if (name == "F32") return DType::kF32;
  if (name == "F16") return DType::kF16;
  if (name == "BF16") return DType::kBF16;
  if (name == "I64") return DType::kI64;
  if (name == "I32") return DType::kI32;
  if (name == "I16") return DType::kI16;
  if (name == "I8") return DType::kI8;
  if (name == "U8") return DType::kU8;
  if (name == "BOOL") return DType::kBool;
  if (name == "F8_E4M3") return DType::kF8E4M3;
  if (name == "F8_E5M2") return DType::kF8E5M2;
  return std::nullopt;
}

// A list of non-negative integers that fit int64.
std::vector<std::int64_t> integers(const json& value, const char* what, const std::string& where) {
  WAN_CHECK(value.is_array(), kBadFile, "[{}] expected a list of integers as {}; {}", where, what, kDamaged);
  std::vector<std::int64_t> result;
  for (const json& item : value) {
    WAN_CHECK(item.is_number_unsigned() && item.get<std::uint64_t>() <= INT64_MAX, kBadFile,
              "[{}] expected non-negative integers as {}; {}", where, what, kDamaged);
    result.push_back(static_cast<std::int64_t>(item.get<std::uint64_t>()));
  }
  return result;
}

struct Placed {
  TensorEntry entry;
  std::int64_t begin;  // in bytes from the end of the header
  std::int64_t end;
};

Placed read_entry(const std::string& name, const json& value, std::int64_t data_bytes,
                  const std::string& file) {
  const std::string where = file + ": tensor " + quote_name(name);
  WAN_CHECK(value.is_object() && value.size() == 3 && value.contains("dtype") && value.contains("shape") &&
                value.contains("data_offsets"),
            kBadFile, "[{}] expected exactly dtype, shape and data_offsets; {}", where, kDamaged);
  WAN_CHECK(value["dtype"].is_string(), kBadFile, "[{}] expected a dtype name; {}", where, kDamaged);
  const auto& dtype_text = value["dtype"].get_ref<const std::string&>();
  const std::optional<DType> dtype = dtype_from_name(dtype_text);
  WAN_CHECK(
      dtype_text != "F8_E8M0", kUnsupported,
      "[{}] is a scale of mxfp8, which is not read; use the fp8, int8, GGUF or bf16 copy of this checkpoint",
      where);
  WAN_CHECK(dtype.has_value(), kUnsupported,
            "[{}] dtype {} is not read; use the fp8, int8, fp32, bf16 or fp16 copy of this checkpoint", where,
            quote_name(dtype_text));
  const std::vector<std::int64_t> extents = integers(value["shape"], "shape", where);
  WAN_CHECK(extents.size() <= Shape::kMaxRank, kBadFile, "[{}] expected at most {} dimensions, got {}", where,
            Shape::kMaxRank, extents.size());
  const std::vector<std::int64_t> offsets = integers(value["data_offsets"], "data_offsets", where);
  WAN_CHECK(offsets.size() == 2 && offsets[0] <= offsets[1] && offsets[1] <= data_bytes, kBadFile,
            "[{}] expected data_offsets [begin, end] within the {} bytes of data; {}", where, data_bytes,
            kDamaged);
  const std::int64_t elements = checked_product(extents, where.c_str(), ErrorCode::kBadFile);
  const std::int64_t bytes = checked_mul(elements, static_cast<std::int64_t>(dtype_size(*dtype)),
                                         where.c_str(), ErrorCode::kBadFile);
  const Shape shape{std::span<const std::int64_t>(extents)};
  WAN_CHECK(bytes == offsets[1] - offsets[0], kBadFile, "[{}] expected {} bytes for {} {}, got {}; {}", where,
            bytes, dtype_name(*dtype), shape.to_string(), offsets[1] - offsets[0], kDamaged);
  // Strides of an empty tensor are never used, and could overflow.
  const Shape strides = elements == 0 ? shape : contiguous_strides(shape);
  return {{name, *dtype, shape, strides, {}, file}, offsets[0], offsets[1]};
}

std::map<std::string, std::string> read_metadata(const json& value, const std::string& file) {
  WAN_CHECK(value.is_object(), kBadFile, "[{}] expected an object as __metadata__; {}", file, kDamaged);
  std::map<std::string, std::string> metadata;
  for (const auto& [key, text] : value.items()) {
    WAN_CHECK(text.is_string(), kBadFile, "[{}] expected text for {} in __metadata__; {}", file,
              quote_name(key), kDamaged);
    metadata.emplace(key, text.get<std::string>());
  }
  return metadata;
}

// Tensors must tile the data: a gap hides bytes, an overlap is never what a writer meant.
void check_coverage(std::vector<Placed>& placed, std::int64_t data_bytes, const std::string& file) {
  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  std::int64_t covered = 0;
  for (const Placed& tensor : placed) {
    WAN_CHECK(tensor.begin == covered, kBadFile,
              "[{}] tensor {} begins at byte {} of the data, expected {} ({}); {}", file,
              quote_name(tensor.entry.name), tensor.begin, covered,
              tensor.begin < covered ? "an overlap" : "a gap", kDamaged);
    covered = tensor.end;
  }
  WAN_CHECK(covered == data_bytes, kBadFile, "[{}] the tensors cover {} of {} bytes of data; {}", file,
            covered, data_bytes, kDamaged);
}

// Relative, of plain components, with forward slashes.
bool stays_inside(const std::string& name) {
  if (name.empty() || name.front() == '/' || name.find('\\') != std::string::npos) return false;
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('/', begin), name.size());
    const std::string_view part = std::string_view(name).substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return false;
    begin = end + 1;
  }
  return is_plain_utf8(name);
}

}  // namespace

CheckpointFile parse_safetensors(std::span<const std::byte> bytes, const std::string& file) {
  const std::string where = file + ": safetensors header";
  ByteReader reader(bytes, where);
  const std::uint64_t header_bytes = reader.u64();
  WAN_CHECK(header_bytes <= kMaxHeaderBytes, kBadFile,
            "[{}] expected at most {} bytes, got {}: not a safetensors file, or a damaged one", where,
            kMaxHeaderBytes, header_bytes);
  const json header = parse_strict_json(reader.take(header_bytes), where, 3);
  WAN_CHECK(header.is_object(), kBadFile, "[{}] expected a JSON object; {}", where, kDamaged);
  const std::span<const std::byte> data = bytes.subspan(reader.position());
  const auto data_bytes = static_cast<std::int64_t>(data.size());

  CheckpointFile result;
  std::vector<Placed> placed;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      result.metadata = read_metadata(value, file);
      continue;
    }
    WAN_CHECK(!name.empty() && is_plain_utf8(name), kBadFile, "[{}] a tensor has no readable name; {}", where,
              kDamaged);
    placed.push_back(read_entry(name, value, data_bytes, file));
  }
  check_coverage(placed, data_bytes, file);
  for (Placed& tensor : placed) {
    tensor.entry.storage = data.subspan(static_cast<std::size_t>(tensor.begin),
                                        static_cast<std::size_t>(tensor.end - tensor.begin));
    result.tensors.push_back(std::move(tensor.entry));
  }
  return result;
}

std::map<std::string, std::string> parse_safetensors_index(std::span<const std::byte> bytes,
                                                           const std::string& file) {
  WAN_CHECK(bytes.size() <= kMaxHeaderBytes, kBadFile, "[{}] expected an index of at most {} bytes, got {}",
            file, kMaxHeaderBytes, bytes.size());
  const json index = parse_strict_json(bytes, file, 8);
  WAN_CHECK(index.is_object() && index.contains("weight_map") && index["weight_map"].is_object(), kBadFile,
            "[{}] expected an object with a weight_map (tensor name: file name); {}", file, kDamaged);
  std::map<std::string, std::string> shards;
  for (const auto& [tensor, value] : index["weight_map"].items()) {
    WAN_CHECK(!tensor.empty() && is_plain_utf8(tensor), kBadFile, "[{}] a tensor has no readable name; {}",
              file, kDamaged);
    WAN_CHECK(value.is_string(), kBadFile, "[{}] expected a file name for {}; {}", file, quote_name(tensor),
              kDamaged);
    const auto& shard = value.get_ref<const std::string&>();
    WAN_CHECK(
        stays_inside(shard), kBadFile,
        "[{}] tensor {} is said to be in {}: expected a file inside the index's folder; do not use this "
        "checkpoint unless you trust its origin and correct the index",
        file, quote_name(tensor), quote_name(shard));
    shards.emplace(tensor, shard);
  }
  WAN_CHECK(!shards.empty(), kBadFile, "[{}] its weight_map names no tensor; {}", file, kDamaged);
  return shards;
}

}  // namespace wan
