#include "weights/safetensors.h"

#include <gtest/gtest.h>

#include "format/file_builder.h"

namespace wan {
namespace {

Thrown parse_thrown(const std::string& header, std::size_t data_bytes) {
  const std::string file = safetensors_file(header, std::string(data_bytes, '\0'));
  return thrown_by([&] { parse_safetensors(as_byte_span(file), "model.safetensors"); });
}

TEST(Safetensors, ListsTensorsAndMetadataWithoutCopying) {
  const std::string file = safetensors_file(
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[8,20]},)"
      R"("a":{"dtype":"F64","shape":[],"data_offsets":[0,8]},"e":{"dtype":"F32","shape":[0,4],"data_offsets":[20,20]}}  )",
      std::string(20, 'x'));
  const CheckpointFile parsed = parse_safetensors(as_byte_span(file), "model.safetensors");
  EXPECT_EQ(parsed.metadata.at("format"), "pt");
  ASSERT_EQ(parsed.tensors.size(), 3u);
  for (const TensorEntry& tensor : parsed.tensors) {
    if (tensor.name == "b") {
      EXPECT_EQ(tensor.dtype, DType::kBF16);
      EXPECT_EQ(tensor.shape, (Shape{2, 3}));
      EXPECT_EQ(tensor.strides, (Shape{3, 1}));
      EXPECT_EQ(tensor.storage.size(), 12u);
      EXPECT_EQ(tensor.storage.data(), as_byte_span(file).data() + file.size() - 12);
      EXPECT_EQ(tensor.file, "model.safetensors");
    } else if (tensor.name == "e") {
      EXPECT_TRUE(tensor.storage.empty());
    } else {
      EXPECT_EQ(tensor.shape.rank(), 0);
      EXPECT_EQ(tensor.storage.size(), 8u);
    }
  }
}

TEST(Safetensors, RefusesHeadersThatDoNotFitTheFile) {
  for (const std::string& file : {std::string(), std::string("1234567"), little_endian(100, 8) + "{}",
                                  little_endian(~0ull, 8) + "{}", little_endian(1ull << 40, 8) + "{}"})
    EXPECT_EQ(thrown_by([&] { parse_safetensors(as_byte_span(file), "f"); }).code, "bad_file") << file.size();
}

struct BadHeader {
  const char* what;
  const char* header;
  std::size_t data_bytes;
  const char* message;  // must stand in what() is thrown
};

TEST(Safetensors, RefusesMalformedHeaders) {
  const BadHeader cases[] = {
      {"no JSON", "{", 0, "JSON"},
      {"no object", "[]", 0, "object"},
      {"trailing text", "{} x", 0, "JSON"},
      {"invalid UTF-8", "{\"\xff\":1}", 0, "JSON"},
      {"deep nesting", "{\"a\":[[[[[[1]]]]]]}", 0, "levels"},
      {"repeated key",
       R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
       1, "twice"},
      {"repeated field", R"({"a":{"dtype":"U8","dtype":"F32","shape":[1],"data_offsets":[0,1]}})", 1,
       "twice"},
      {"missing field", R"({"a":{"dtype":"U8","shape":[1]}})", 1, "exactly"},
      {"extra field", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}})", 1, "exactly"},
      {"dtype no text", R"({"a":{"dtype":1,"shape":[1],"data_offsets":[0,1]}})", 1, "dtype"},
      {"negative size", R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", 1, "non-negative"},
      {"fraction", R"({"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}})", 1, "non-negative"},
      {"beyond 64 bits", R"({"a":{"dtype":"U8","shape":[99999999999999999999],"data_offsets":[0,1]}})", 1,
       "non-negative"},
      {"overflowing shape", R"({"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,1]}})", 1,
       "overflows"},
      {"overflowing bytes", R"({"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,1]}})", 1,
       "overflows"},
      {"seven dimensions", R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1],"data_offsets":[0,1]}})", 1,
       "dimensions"},
      {"offsets reversed", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}})", 1, "data_offsets"},
      {"offsets beyond the file", R"({"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}})", 8,
       "data_offsets"},
      {"three offsets", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}})", 1, "data_offsets"},
      {"size and offsets disagree", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4,
       "expected 8 bytes"},
      {"overlap",
       R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
       3, "overlap"},
      {"gap",
       R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
       3, "gap"},
      {"bytes left over", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 2, "cover 1 of 2"},
      {"nameless", R"({"":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1, "name"},
      {"metadata no object", R"({"__metadata__":1})", 0, "__metadata__"},
      {"metadata no text", R"({"__metadata__":{"a":1}})", 0, "__metadata__"},
  };
  for (const BadHeader& bad : cases) {
    const Thrown thrown = parse_thrown(bad.header, bad.data_bytes);
    EXPECT_EQ(thrown.code, "bad_file") << bad.what << ": " << thrown.message;
    EXPECT_NE(thrown.message.find(bad.message), std::string::npos) << bad.what << ": " << thrown.message;
    EXPECT_NE(thrown.message.find("model.safetensors"), std::string::npos)
        << bad.what << ": " << thrown.message;
  }
}

TEST(Safetensors, NamesTheTensorAndTheRemedyForUnreadDtypes) {
  const Thrown thrown = parse_thrown(R"({"w":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}})", 1);
  EXPECT_EQ(thrown.code, "unsupported");
  EXPECT_NE(thrown.message.find("'w'"), std::string::npos) << thrown.message;
  EXPECT_NE(thrown.message.find("use the fp8, int8, fp32, bf16 or fp16"), std::string::npos)
      << thrown.message;
}

TEST(Safetensors, ShowsNoControlCharactersOfAFile) {
  const Thrown thrown =
      parse_thrown("{\"a\\u001b[2J\":{\"dtype\":\"X\\n\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1);
  EXPECT_EQ(thrown.code, "unsupported");
  for (const char c : thrown.message) EXPECT_GE(c, 0x20);
}

Thrown index_thrown(const std::string& json) {
  return thrown_by([&] { parse_safetensors_index(as_byte_span(json), "m.index.json"); });
}

TEST(SafetensorsIndex, MapsTensorsToShards) {
  const std::string json =
      R"({"metadata":{"total_size":4},"weight_map":{"a":"x.safetensors","b":"s/y.safetensors"}})";
  const auto shards = parse_safetensors_index(as_byte_span(json), "m.index.json");
  EXPECT_EQ(shards.at("a"), "x.safetensors");
  EXPECT_EQ(shards.at("b"), "s/y.safetensors");
}

TEST(SafetensorsIndex, RefusesWhatIsMalformedOrLeavesTheFolder) {
  for (const char* shard :
       {"/etc/passwd", "../x", "a/../../x", "", "a//b", "./a", "a\\\\b", "..", "a/", "a\\u0000"})
    EXPECT_EQ(index_thrown(std::string(R"({"weight_map":{"a":")") + shard + "\"}}").code, "bad_file")
        << shard;
  for (const char* json :
       {"", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{}})", R"({"weight_map":{"a":1}})",
        R"({"weight_map":{"a":"x","a":"y"}})", R"({"weight_map":{"":"x"}})"})
    EXPECT_EQ(index_thrown(json).code, "bad_file") << json;
}

}  // namespace
}  // namespace wan
