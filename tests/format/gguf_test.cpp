#include "weights/gguf.h"

#include <gtest/gtest.h>

#include <fstream>

#include "format/file_builder.h"
#include "support/temp_folder.h"
#include "weights/checkpoint.h"
#include "weights/convert.h"

namespace wan {
namespace {

std::string text(const std::string& value) {
  return little_endian(value.size(), 8) + value;
}

struct Gguf {
  std::uint32_t version = 3;
  std::string pairs = {};
  std::uint64_t pair_count = 0;
  std::string tensors = {};
  std::uint64_t tensor_count = 0;
  std::string data = {};
  std::size_t alignment = 32;

  Gguf& pair(const std::string& key, std::uint32_t type, const std::string& value) {
    pairs += text(key) + little_endian(type, 4) + value;
    ++pair_count;
    return *this;
  }
  Gguf& tensor(const std::string& name, std::uint32_t type, const std::vector<std::uint64_t>& inner_first,
               const std::string& bytes, std::uint64_t lie = 0) {
    tensors += text(name) + little_endian(inner_first.size(), 4);
    for (const std::uint64_t extent : inner_first) tensors += little_endian(extent, 8);
    data.resize((data.size() + alignment - 1) / alignment * alignment);
    tensors += little_endian(type, 4) + little_endian(data.size() + lie, 8);
    data += bytes;
    ++tensor_count;
    return *this;
  }
  std::string build() const {
    std::string file = "GGUF" + little_endian(version, 4) + little_endian(tensor_count, 8) +
                       little_endian(pair_count, 8) + pairs + tensors;
    file.resize((file.size() + alignment - 1) / alignment * alignment);
    return file + data;
  }
};

Thrown thrown(const std::string& file) {
  return thrown_by([&] { parse_gguf(as_byte_span(file), "x.gguf"); });
}

// Q8_0: d = 0.5, values 0, 1, ... 31.
std::string q8_block() {
  std::string block("\x00\x38", 2);
  for (int i = 0; i < 32; ++i) block += static_cast<char>(i);
  return block;
}

TEST(Gguf, ListsTensorsInTheUsualOrderOfDimensions) {
  for (const std::uint32_t version : {2u, 3u}) {
    Gguf made{.version = version};
    made.pair("general.architecture", 8, text("wan"))
        .pair("general.file_type", 4, little_endian(7, 4))
        .pair("tokenizer.ggml.tokens", 9, little_endian(8, 4) + little_endian(2, 8) + text("a") + text("bc"))
        .pair("nested", 9,
              little_endian(9, 4) + little_endian(1, 8) + little_endian(5, 4) + little_endian(2, 8) +
                  std::string(8, '\0'))
        .pair("comfy.gguf.orig_shape.m", 9,
              little_endian(5, 4) + little_endian(3, 8) + little_endian(1, 4) + little_endian(2, 4) +
                  little_endian(3, 4))
        .tensor("a", 8, {32, 2}, q8_block() + q8_block())
        .tensor("m", 0, {3, 2}, std::string(24, '\0'));
    const std::string file = made.build();
    const CheckpointFile parsed = parse_gguf(as_byte_span(file), "x.gguf");
    EXPECT_EQ(parsed.metadata.at("general.architecture"), "wan");
    EXPECT_EQ(parsed.metadata.at("general.file_type"), "7");
    ASSERT_EQ(parsed.tensors.size(), 2u);
    EXPECT_EQ(parsed.tensors[0].shape, (Shape{2, 32}));
    EXPECT_EQ(parsed.tensors[0].dtype, DType::kQ8_0);
    EXPECT_EQ(parsed.tensors[0].storage.size(), 68u);
    EXPECT_EQ(parsed.tensors[1].shape, (Shape{1, 2, 3}));
    const Tensor values(DType::kF32, {2, 32});
    convert(parsed.tensors[0], values);
    for (int i = 0; i < 64; ++i) EXPECT_EQ(values.as<float>()[i], 0.5f * static_cast<float>(i % 32));
    // Rows alone, and parts of them.
    const Tensor part(DType::kBF16, {5});
    convert_part(parsed.tensors[0], 31, part);
    EXPECT_EQ(to_float(part.as<BF16>()[0]), 15.5f);
    EXPECT_EQ(to_float(part.as<BF16>()[4]), 1.5f);
  }
}

TEST(Gguf, HasItsOwnAlignment) {
  Gguf made{.alignment = 64};
  made.pair("general.alignment", 4, little_endian(64, 4))
      .tensor("a", 0, {1}, std::string("\x00\x00\x80\x3f", 4));
  const std::string file = made.build();
  const CheckpointFile parsed = parse_gguf(as_byte_span(file), "x.gguf");
  EXPECT_EQ(*reinterpret_cast<const unsigned char*>(parsed.tensors[0].storage.data() + 3), 0x3f);
  for (const std::uint32_t wrong : {0u, 3u}) {
    Gguf bad;
    EXPECT_EQ(thrown(bad.pair("general.alignment", 4, little_endian(wrong, 4)).build()).code, "bad_file");
  }
}

TEST(Gguf, RefusesDamagedFiles) {
  Gguf made;
  made.pair("k", 8, text("v")).tensor("a", 8, {32, 2}, q8_block() + q8_block());
  const std::string whole = made.build();
  for (std::size_t length = 0; length < whole.size(); ++length)
    EXPECT_EQ(thrown(whole.substr(0, length)).code, "bad_file") << length;
  const auto code = [](const Gguf& bad) { return thrown(bad.build()).code; };
  EXPECT_EQ(code(Gguf().tensor("a", 8, {31}, q8_block())), "bad_file") << "no whole block";
  EXPECT_EQ(code(Gguf().tensor("a", 0, {1ull << 62, 1ull << 62}, "")), "bad_file") << "overflow";
  EXPECT_EQ(code(Gguf().tensor("a", 0, {1ull << 62}, "")), "bad_file") << "bytes overflow";
  EXPECT_EQ(code(Gguf().tensor("a", 0, {~0ull}, "")), "bad_file");
  EXPECT_EQ(code(Gguf().tensor("a", 0, {1, 1, 1, 1, 1, 1, 1}, "1234")), "bad_file") << "rank";
  EXPECT_EQ(code(Gguf().tensor("a", 0, {1}, "1234", 1)), "bad_file") << "past the end";
  EXPECT_EQ(code(Gguf().tensor("a", 0, {1}, "1234", ~0ull)), "bad_file");
  EXPECT_EQ(code(Gguf().tensor("a", 0, {2}, "12345678").tensor("b", 0, {1}, "1234", ~0ull - 27)), "bad_file")
      << "overlap";
  EXPECT_EQ(code(Gguf().pair("k", 8, text("v")).pair("k", 8, text("v"))), "bad_file") << "repeated key";
  EXPECT_EQ(code(Gguf().pair("k", 13, "")), "bad_file") << "type";
  EXPECT_EQ(code(Gguf().pair("k", 9, little_endian(10, 4) + little_endian(~0ull, 8))), "bad_file") << "count";
  EXPECT_EQ(code(Gguf().pair("k", 9, little_endian(8, 4) + little_endian(~0ull, 8))), "bad_file");
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += little_endian(9, 4) + little_endian(1, 8);
  EXPECT_EQ(code(Gguf().pair("k", 9, deep)), "bad_file") << "depth";
  EXPECT_EQ(code(Gguf()
                     .pair("comfy.gguf.orig_shape.a", 9,
                           little_endian(5, 4) + little_endian(1, 8) + little_endian(3, 4))
                     .tensor("a", 0, {2}, "12345678")),
            "bad_file")
      << "original shape";
}

TEST(Gguf, NamesWhatIsNotRead) {
  EXPECT_EQ(thrown(Gguf{.version = 1}.build()).code, "unsupported");
  const Thrown big = thrown(Gguf{.version = 3u << 24}.build());
  EXPECT_EQ(big.code, "unsupported");
  EXPECT_NE(big.message.find("big-endian"), std::string::npos);
  const Thrown type = thrown(Gguf().tensor("a", 16, {256}, std::string(66, '\0')).build());
  EXPECT_EQ(type.code, "unsupported");
  EXPECT_NE(type.message.find("IQ2_XXS"), std::string::npos) << type.message;
}

TEST(Gguf, JoinsTheFilesOfADividedOne) {
  const test::TempFolder folder;
  const auto write = [&](const std::string& name, int number, const char* tensor) {
    Gguf part;
    part.pair("split.no", 2, little_endian(static_cast<std::uint64_t>(number), 2))
        .pair("split.count", 2, little_endian(2, 2))
        .tensor(tensor, 0, {1}, "1234");
    std::ofstream(folder.path() / name, std::ios::binary) << part.build();
  };
  write("w-00001-of-00002.gguf", 0, "a");
  write("w-00002-of-00002.gguf", 1, "b");
  for (const char* name : {"w-00001-of-00002.gguf", "w-00002-of-00002.gguf"})
    EXPECT_EQ(Checkpoint::open(folder.path() / name).entries().size(), 2u) << name;
  // In a folder, each of them lies in it.
  const std::filesystem::path linked = folder.path() / "linked";
  std::filesystem::create_directory(linked);
  std::filesystem::copy_file(folder.path() / "w-00001-of-00002.gguf", linked / "w-00001-of-00002.gguf");
  std::filesystem::create_symlink(folder.path() / "w-00002-of-00002.gguf", linked / "w-00002-of-00002.gguf");
  const Thrown out = thrown_by([&] { Checkpoint::open(linked); });
  EXPECT_EQ(out.code, "bad_file");
  EXPECT_NE(out.message.find("link out of its folder"), std::string::npos) << out.message;
  std::filesystem::copy_file(folder.path() / "w-00002-of-00002.gguf", folder.path() / "alone.gguf");
  EXPECT_EQ(thrown_by([&] { Checkpoint::open(folder.path() / "alone.gguf"); }).code, "bad_file");
  write("w-00002-of-00002.gguf", 0, "b");
  EXPECT_EQ(thrown_by([&] { Checkpoint::open(folder.path() / "w-00001-of-00002.gguf"); }).code, "bad_file");
  std::filesystem::remove(folder.path() / "w-00002-of-00002.gguf");
  EXPECT_EQ(thrown_by([&] { Checkpoint::open(folder.path() / "w-00001-of-00002.gguf"); }).code, "bad_file");
}

TEST(Gguf, ListsOfTextsAndIntegersAreReadWhereTheyAreWanted) {
  Gguf made;
  made.pair("tokens", 9, little_endian(8, 4) + little_endian(2, 8) + text("a") + text("\xff"))
      .pair("kinds", 9,
            little_endian(5, 4) + little_endian(2, 8) + little_endian(3, 4) + little_endian(0xffffffffu, 4))
      .pair("counts", 9, little_endian(4, 4) + little_endian(1, 8) + little_endian(0xffffffffu, 4))
      .pair("scores", 9, little_endian(6, 4) + little_endian(2, 8) + std::string(8, '\0'))
      .pair("nested", 9,
            little_endian(9, 4) + little_endian(1, 8) + little_endian(5, 4) + little_endian(0, 8));
  const std::string file = made.build();
  GgufLists lists = parse_gguf_lists(as_byte_span(file), "x.gguf");
  EXPECT_EQ(lists.texts, (std::map<std::string, std::vector<std::string_view>>{{"tokens", {"a", "\xff"}}}));
  EXPECT_EQ(lists.integers, (std::map<std::string, std::vector<std::int64_t>>{{"kinds", {3, -1}},
                                                                              {"counts", {0xffffffffll}}}));

  for (const std::string& values :
       {little_endian(8, 4) + little_endian(1u << 30, 8), little_endian(5, 4) + little_endian(1u << 30, 8),
        little_endian(8, 4) + little_endian(1, 8) + little_endian(1u << 30, 8)}) {
    const std::string damaged = Gguf{}.pair("tokens", 9, values).build();
    const Thrown error = thrown_by([&] { parse_gguf_lists(as_byte_span(damaged), "x.gguf"); });
    EXPECT_EQ(error.code, "bad_file");
  }
}

}  // namespace
}  // namespace wan
