// ONNX files: well-formed ones, and the ways in which one can be wrong.

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "format/file_builder.h"
#include "onnx/graph.h"
#include "onnx/session.h"
#include "ops/counting_backend.h"
#include "support/temp_folder.h"

namespace wan {
namespace {

namespace fs = std::filesystem;

std::string varint(std::uint64_t value) {
  std::string text;
  for (; value >= 0x80; value >>= 7) text += static_cast<char>(value | 0x80);
  return text + static_cast<char>(value);
}
std::string number_field(int number, std::uint64_t value) {
  return varint(static_cast<std::uint64_t>(number) << 3) + varint(value);
}
std::string bytes_field(int number, const std::string& value) {
  return varint(static_cast<std::uint64_t>(number) << 3 | 2) + varint(value.size()) + value;
}

constexpr int kFloat = 1;
constexpr int kInt64 = 7;

std::string tensor_dims(const std::vector<std::int64_t>& dims) {
  std::string made;
  for (const std::int64_t dim : dims) made += number_field(1, static_cast<std::uint64_t>(dim));
  return made;
}
std::string raw_tensor(const std::string& name, int type, const std::vector<std::int64_t>& dims,
                       const std::string& raw) {
  return tensor_dims(dims) + number_field(2, static_cast<std::uint64_t>(type)) + bytes_field(8, name) +
         bytes_field(9, raw);
}
std::string external_tensor(const std::string& name, const std::vector<std::int64_t>& dims,
                            const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string made = tensor_dims(dims) + number_field(2, kFloat) + bytes_field(8, name) + number_field(14, 1);
  for (const auto& [key, value] : entries)
    made += bytes_field(13, bytes_field(1, key) + bytes_field(2, value));
  return made;
}
std::string integer_attribute(const std::string& name, std::int64_t value) {
  return bytes_field(1, name) + number_field(3, static_cast<std::uint64_t>(value)) + number_field(20, 2);
}
std::string integers_attribute(const std::string& name, const std::vector<std::int64_t>& values) {
  std::string made = bytes_field(1, name) + number_field(20, 7);
  for (const std::int64_t value : values) made += number_field(8, static_cast<std::uint64_t>(value));
  return made;
}
std::string value_info(const std::string& name, int type, const std::vector<std::int64_t>& dims) {
  std::string shape;
  for (const std::int64_t dim : dims)
    shape += bytes_field(1, dim < 0 ? bytes_field(2, "n") : number_field(1, static_cast<std::uint64_t>(dim)));
  const std::string tensor = number_field(1, static_cast<std::uint64_t>(type)) + bytes_field(2, shape);
  return bytes_field(1, name) + bytes_field(2, bytes_field(1, tensor));
}

struct OnnxFile {
  std::string nodes, initializers, inputs, outputs;
  std::uint64_t opset = 13;

  OnnxFile& node(const std::string& op, const std::vector<std::string>& in,
                 const std::vector<std::string>& out, const std::vector<std::string>& attributes = {},
                 const std::string& domain = "") {
    std::string made;
    for (const std::string& name : in) made += bytes_field(1, name);
    for (const std::string& name : out) made += bytes_field(2, name);
    made += bytes_field(3, "node of " + op) + bytes_field(4, op);
    for (const std::string& attribute : attributes) made += bytes_field(5, attribute);
    if (!domain.empty()) made += bytes_field(7, domain);
    nodes += bytes_field(1, made);
    return *this;
  }
  OnnxFile& initializer(const std::string& tensor) {
    initializers += bytes_field(5, tensor);
    return *this;
  }
  OnnxFile& input(const std::string& name, const std::vector<std::int64_t>& dims, int type = kFloat) {
    inputs += bytes_field(11, value_info(name, type, dims));
    return *this;
  }
  OnnxFile& output(const std::string& name, int type = kFloat) {
    outputs += bytes_field(12, value_info(name, type, {}));
    return *this;
  }
  std::string build() const {
    return number_field(1, 8) + bytes_field(7, nodes + initializers + inputs + outputs) +
           bytes_field(8, number_field(2, opset));
  }
};

/// y = x + w of four values.
OnnxFile sum_of(const std::string& weight) {
  return OnnxFile().node("Add", {"x", "w"}, {"y"}).initializer(weight).input("x", {4}).output("y");
}

class OnnxFormat : public ::testing::Test {
 protected:
  test::TempFolder folder;

  fs::path write(const std::string& name, const std::string& content) const {
    fs::path path = folder / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }
  Thrown opening(const std::string& content) const {
    const fs::path path = write("model.onnx", content);
    return thrown_by([&] { onnx::Model::open(path); });
  }
  Thrown planning(const OnnxFile& file, const std::vector<Shape>& shapes) const {
    const fs::path path = write("model.onnx", file.build());
    return thrown_by([&] {
      CountingBackend backend(Device{DeviceKind::kCuda, 0});
      const onnx::Session session(onnx::Model::open(path), backend, shapes);
    });
  }
};

void expect_thrown(const Thrown& actual, const std::string& code, const std::string& part) {
  EXPECT_EQ(actual.code, code) << actual.message;
  EXPECT_NE(actual.message.find(part), std::string::npos)
      << "expected \"" << part << "\" in: " << actual.message;
}

const std::string kFour(16, '\0');

TEST_F(OnnxFormat, ReadsWhatItIsGiven) {
  const fs::path path = write("model.onnx", sum_of(raw_tensor("w", kFloat, {4}, kFour)).build());
  const onnx::Model model = onnx::Model::open(path);
  ASSERT_EQ(model.inputs().size(), 1u);
  EXPECT_EQ(model.inputs()[0].name, "x");
  EXPECT_EQ(model.inputs()[0].dims, std::vector<std::int64_t>{4});
  EXPECT_EQ(model.outputs()[0].name, "y");
  EXPECT_EQ(model.graph().opset, 13);
  EXPECT_EQ(model.graph().constants.at("w").elements(), 4);
  // As the only model of a folder, and as the usual one of several.
  EXPECT_EQ(onnx::Model::open(folder.path()).name(), path.string());
  const fs::path usual = write("end2end.onnx", sum_of(raw_tensor("w", kFloat, {4}, kFour)).build());
  EXPECT_EQ(onnx::Model::open(folder.path()).name(), usual.string());
}

TEST_F(OnnxFormat, AFolderOfSeveralModelsIsAmbiguous) {
  const std::string content = sum_of(raw_tensor("w", kFloat, {4}, kFour)).build();
  write("a.onnx", content);
  write("b.onnx", content);
  expect_thrown(thrown_by([&] { onnx::Model::open(folder.path()); }), "bad_file",
                "has 2 files of the kind .onnx");
}

TEST_F(OnnxFormat, DamagedFilesAreToldWithTheirNames) {
  const std::string whole = sum_of(raw_tensor("w", kFloat, {4}, kFour)).build();
  expect_thrown(opening(""), "bad_file", "there is no graph in it");
  expect_thrown(opening("PK\x03\x04 no model at all"), "bad_file", "download it again");
  expect_thrown(opening(whole.substr(0, whole.size() / 2)), "bad_file", "model.onnx");
  expect_thrown(opening(std::string(12, '\xff')), "bad_file", "longer than 10 bytes");
  expect_thrown(opening(varint(7 << 3 | 2) + varint(std::uint64_t{1} << 62)), "bad_file", "more bytes");
  expect_thrown(opening(varint(7 << 3 | 3)), "bad_file", "no wire type");
  expect_thrown(opening(bytes_field(7, "") + bytes_field(7, "") + bytes_field(8, number_field(2, 13))),
                "bad_file", "two graphs");
  OnnxFile old = sum_of(raw_tensor("w", kFloat, {4}, kFour));
  old.opset = 9;
  expect_thrown(opening(old.build()), "bad_file", "11 to 21 are known");
}

TEST_F(OnnxFormat, NamesAreDefinedOnceAndBeforeTheyAreUsed) {
  const std::string w = raw_tensor("w", kFloat, {4}, kFour);
  expect_thrown(opening(OnnxFile().node("Add", {"x", "v"}, {"y"}).input("x", {4}).output("y").build()),
                "bad_file", "takes 'v', which nothing before it defines");
  expect_thrown(
      opening(
          OnnxFile().node("Neg", {"z"}, {"y"}).node("Neg", {"x"}, {"z"}).input("x", {4}).output("y").build()),
      "bad_file", "takes 'z'");
  expect_thrown(opening(sum_of(w).node("Neg", {"x"}, {"y"}).build()), "bad_file", "'y' is defined twice");
  expect_thrown(opening(sum_of(w).node("Neg", {"x"}, {"w"}).build()), "bad_file", "'w' is defined twice");
  expect_thrown(opening(sum_of(w).initializer(w).build()), "bad_file", "'w' is there twice");
  expect_thrown(opening(sum_of(w).output("q").build()), "bad_file", "takes 'q'");
  expect_thrown(opening(OnnxFile().node("Neg", {"x"}, {"y"}).input("x", {4}).build()), "bad_file",
                "no output");
  // What a message shows of a name is no control character.
  const Thrown hostile = opening(sum_of(w).node("Neg", {"\x1b[2J"}, {"z"}).build());
  EXPECT_EQ(hostile.message.find('\x1b'), std::string::npos);
}

TEST_F(OnnxFormat, WeightsHaveTheBytesOfTheirShapes) {
  const auto with = [&](const std::string& tensor) { return opening(sum_of(tensor).build()); };
  expect_thrown(with(raw_tensor("w", kFloat, {5}, kFour)), "bad_file",
                "'w' has 16 bytes, its shape [5] says 20");
  expect_thrown(with(raw_tensor("w", kFloat, {-4}, kFour)), "bad_file", "an extent of -4");
  expect_thrown(with(raw_tensor("w", kFloat, {1, 1, 1, 1, 1, 1, 4}, kFour)), "bad_file", "7 dimensions");
  expect_thrown(with(raw_tensor("w", kFloat, {1 << 30, 1 << 30, 1 << 30}, kFour)), "bad_file",
                "more elements than can be counted");
  expect_thrown(with(raw_tensor("w", 8, {4}, kFour)), "bad_file", "ONNX's type 8");
  expect_thrown(with(tensor_dims({4}) + number_field(2, kFloat) + bytes_field(8, "w") +
                     bytes_field(4, kFour.substr(0, 12))),
                "bad_file", "has 3 values");
  expect_thrown(with(tensor_dims({4}) + number_field(2, kFloat) + bytes_field(8, "w") +
                     bytes_field(4, kFour.substr(0, 13))),
                "bad_file", "whole numbers in 13 bytes");
  expect_thrown(
      with(tensor_dims({1}) + number_field(2, kInt64) + bytes_field(8, "w") + bytes_field(7, "\x80")),
      "bad_file", "ends within a number");
}

TEST_F(OnnxFormat, WeightsInFurtherFilesStayInTheFolder) {
  using Entries = std::vector<std::pair<std::string, std::string>>;
  const auto with = [&](const Entries& entries) {
    return sum_of(external_tensor("w", {4}, entries)).build();
  };
  const fs::path inner = folder / "model";
  write("outside.bin", kFour);
  write("model/w.bin", std::string(8, '\0') + kFour);
  write("model/parts/w.bin", kFour);
  const auto open = [&](const Entries& entries) {
    const fs::path path = write("model/end2end.onnx", with(entries));
    return thrown_by([&] { onnx::Model::open(path); });
  };
  EXPECT_EQ(open({{"location", "w.bin"}, {"offset", "8"}, {"length", "16"}}).message, "");
  EXPECT_EQ(open({{"location", "parts/w.bin"}}).message, "");
  expect_thrown(open({{"location", "w.bin"}, {"offset", "9"}}), "bad_file", "16 bytes at 9");
  expect_thrown(open({{"location", "w.bin"}, {"offset", "18446744073709551615"}}), "bad_file",
                "the file is truncated");
  expect_thrown(open({{"location", "w.bin"}, {"offset", "-1"}}), "bad_file", "no number of bytes");
  expect_thrown(open({{"location", "w.bin"}, {"length", "12"}}), "bad_file", "has 12 bytes");
  expect_thrown(open({{"location", "gone.bin"}}), "bad_file", "is missing; download the whole folder");
  expect_thrown(open({{"location", "../outside.bin"}}), "bad_file", "not one below the model's folder");
  expect_thrown(open({{"location", "parts/../../outside.bin"}}), "bad_file",
                "not one below the model's folder");
  expect_thrown(open({{"location", (folder / "outside.bin").string()}}), "bad_file",
                "not one below the model's folder");
  expect_thrown(open({}), "bad_file", "not one below the model's folder");
  expect_thrown(open({{"location", std::string("w.bin\0x", 7)}}), "bad_file",
                "not one below the model's folder");
  fs::create_symlink("../outside.bin", inner / "link.bin");
  expect_thrown(open({{"location", "link.bin"}}), "bad_file", "a link out of the model's folder");
  fs::create_directory_symlink(folder.path(), inner / "up");
  expect_thrown(open({{"location", "up/outside.bin"}}), "bad_file", "a link out of the model's folder");
  fs::create_symlink("w.bin", inner / "within.bin");
  EXPECT_EQ(open({{"location", "within.bin"}}).message, "");
  expect_thrown(open({{"location", "parts"}}), "bad_file", "parts");
}

TEST_F(OnnxFormat, UnknownOperatorsAreListedTogether) {
  OnnxFile file = OnnxFile()
                      .node("NonMaxSuppression", {"x"}, {"a"})
                      .node("Gelu", {"x"}, {"b"}, {}, "com.microsoft")
                      .node("Neg", {"a"}, {"y"})
                      .node("SiLU", {"x"}, {"c"}, {}, "wan")
                      .input("x", {4})
                      .output("y");
  const Thrown refused = planning(file, {{4}});
  expect_thrown(refused, "unsupported", "3 of its nodes");
  for (const char* part :
       {"'NonMaxSuppression' ('node of NonMaxSuppression')", "'com.microsoft.Gelu'", "'wan.SiLU'"})
    EXPECT_NE(refused.message.find(part), std::string::npos) << refused.message;
}

TEST_F(OnnxFormat, ShapesThatDoNotFitAreToldWithTheNode) {
  const auto shape_of = [](const std::vector<std::int64_t>& values) {
    std::string raw(values.size() * 8, '\0');
    std::memcpy(raw.data(), values.data(), raw.size());
    return raw_tensor("s", kInt64, {static_cast<std::int64_t>(values.size())}, raw);
  };
  const auto reshaping = [&](const std::vector<std::int64_t>& to) {
    return OnnxFile()
        .node("Reshape", {"x", "s"}, {"y"})
        .initializer(shape_of(to))
        .input("x", {-1})
        .output("y");
  };
  EXPECT_EQ(planning(reshaping({2, -1}), {{6}}).message, "");
  expect_thrown(planning(reshaping({4, -1}), {{6}}), "bad_file", "'Reshape' 'node of Reshape'");
  expect_thrown(planning(reshaping({-1, -1}), {{6}}), "bad_file", "two dimensions are left open");
  expect_thrown(planning(reshaping({std::int64_t{1} << 62, std::int64_t{1} << 62, -1}), {{6}}), "bad_file",
                "a dimension of");
  expect_thrown(planning(reshaping({1, 1, 1, 1, 1, 1, 6}), {{6}}), "bad_file", "7 dimensions");
  expect_thrown(planning(sum_of(raw_tensor("w", kFloat, {4}, kFour)), {{3}}), "invalid_argument",
                "declared as [4]");
  expect_thrown(
      planning(OnnxFile().node("Add", {"x", "z"}, {"y"}).input("x", {-1}).input("z", {-1}).output("y"),
               {{3}, {4}}),
      "bad_file", "[3] and [4] do not fit");
  // A shape that is an input.
  expect_thrown(
      planning(
          OnnxFile().node("Reshape", {"x", "z"}, {"y"}).input("x", {4}).input("z", {1}, kInt64).output("y"),
          {{4}, {1}}),
      "bad_file", "depends on the values of 'z'");
  // Memory that nobody has.
  const OnnxFile grown = OnnxFile()
                             .node("Expand", {"x", "s"}, {"z"})
                             .node("Neg", {"z"}, {"y"})
                             .initializer(shape_of({std::int64_t{1} << 50, 256}))
                             .input("x", {1, 256})
                             .output("y");
  expect_thrown(planning(grown, {{1, 256}}), "out_of_memory", "does not fit into memory");
  // A part without elements beside one with some.
  EXPECT_EQ(planning(OnnxFile()
                         .node("Split", {"x", "s"}, {"a", "b"})
                         .node("Neg", {"b"}, {"y"})
                         .initializer(shape_of({0, 4}))
                         .input("x", {4})
                         .output("y")
                         .output("a"),
                     {{4}})
                .message,
            "");
  // Windows and groups.
  const std::string kernel = raw_tensor("k", kFloat, {2, 1, 1, 2}, kFour);
  const auto convolving = [&](const std::string& attribute) {
    return OnnxFile()
        .node("Conv", {"x", "k"}, {"y"}, {attribute})
        .initializer(kernel)
        .input("x", {1, 1, 4, 4})
        .output("y");
  };
  const std::vector<Shape> picture{{1, 1, 4, 4}};
  EXPECT_EQ(planning(convolving(integer_attribute("group", 1)), picture).message, "");
  expect_thrown(planning(convolving(integer_attribute("group", 0)), picture), "bad_file", "in 0 groups");
  expect_thrown(planning(convolving(integer_attribute("group", 2)), picture), "bad_file", "in 2 groups");
  expect_thrown(planning(convolving(integers_attribute("strides", {0, 1})), picture), "bad_file",
                "a stride of 0");
  expect_thrown(planning(convolving(integers_attribute("pads", {-1, 0, 0, 0})), picture), "bad_file",
                "pads of -1");
  expect_thrown(planning(convolving(integers_attribute("pads", {0, 0, 0})), picture), "bad_file", "3 pads");
  expect_thrown(planning(convolving(integers_attribute("dilations", {1, 4})), picture), "bad_file",
                "a kernel of 5 for 4");
}

}  // namespace
}  // namespace wan
