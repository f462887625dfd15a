#include "weights/pth.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "base/mapped_file.h"
#include "format/file_builder.h"
#include "support/expect_error.h"
#include "weights/checkpoint.h"
#include "weights/convert.h"

namespace wan {
namespace {

// Files that torch.save wrote: tools/golden/make_checkpoints.py.
MappedFile golden(const std::string& name) {
  return MappedFile(std::filesystem::path(WAN_GOLDEN_DIR) / "checkpoints" / name);
}

std::vector<float> values(const TensorEntry& entry) {
  const Tensor copy(DType::kF32, entry.shape);
  convert(entry, copy);
  return {copy.as<float>(), copy.as<float>() + copy.elements()};
}

std::map<std::string, TensorEntry> by_name(const CheckpointFile& file) {
  std::map<std::string, TensorEntry> entries;
  for (const TensorEntry& tensor : file.tensors) entries.emplace(tensor.name, tensor);
  return entries;
}

std::vector<float> range(int begin, int end, int step = 1) {
  std::vector<float> result;
  for (int i = begin; i < end; i += step) result.push_back(static_cast<float>(i));
  return result;
}

TEST(Pth, ReadsViewsOfOneStorage) {
  const MappedFile file = golden("views.pth");
  const auto tensors = by_name(parse_pth(file.bytes(), "views.pth"));
  ASSERT_EQ(tensors.size(), 8u);
  EXPECT_EQ(values(tensors.at("whole")), range(0, 24));
  EXPECT_EQ(values(tensors.at("tail")), range(20, 24));
  EXPECT_EQ(values(tensors.at("every_second")), range(1, 24, 2));
  EXPECT_EQ(values(tensors.at("scalar")), range(7, 8));
  EXPECT_EQ(values(tensors.at("empty")), range(0, 0));
  EXPECT_EQ(tensors.at("empty").shape, (Shape{0, 3}));
  EXPECT_EQ(values(tensors.at("window")), (std::vector<float>{8, 9, 10, 14, 15, 16}));
  EXPECT_EQ(tensors.at("transposed").shape, (Shape{6, 4}));
  EXPECT_EQ(values(tensors.at("transposed"))[1], 6.0f);
  EXPECT_EQ(values(tensors.at("transposed"))[4], 1.0f);
  // base.view(2, 3, 4).permute(2, 0, 1): element [i, j, k] is 12 j + 4 k + i
  const std::vector<float> permuted = values(tensors.at("permuted"));
  EXPECT_EQ(permuted[(3 * 2 + 1) * 3 + 2], 12.0f + 8.0f + 3.0f);
  // All of them are views of the mapped file.
  for (const auto& [name, tensor] : tensors) {
    if (tensor.storage.empty()) continue;
    EXPECT_GE(tensor.storage.data(), file.bytes().data());
    EXPECT_LE(tensor.storage.data() + tensor.storage.size(), file.bytes().data() + file.bytes().size());
  }
}

TEST(Pth, ReadsEveryDtypeInEveryProtocol) {
  for (const char* name : {"dtypes.pth", "protocol4.pth", "protocol5.pth"}) {
    const MappedFile file = golden(name);
    const auto tensors = by_name(parse_pth(file.bytes(), name));
    ASSERT_EQ(tensors.size(), 8u) << name;
    for (const char* floating : {"f64", "f32", "f16", "bf16"}) {
      EXPECT_STREQ(dtype_name(tensors.at(floating).dtype), floating);
      EXPECT_EQ(values(tensors.at(floating)), range(-3, 5)) << floating;
    }
    std::int64_t wide[8];
    ASSERT_EQ(tensors.at("i64").storage.size(), sizeof(wide));
    std::memcpy(wide, tensors.at("i64").storage.data(), sizeof(wide));
    EXPECT_EQ(wide[0], -3);
    EXPECT_EQ(tensors.at("i32").dtype, DType::kI32);
    EXPECT_EQ(tensors.at("u8").storage[5], std::byte{255});
    EXPECT_EQ(tensors.at("bool").dtype, DType::kBool);
    EXPECT_EQ(tensors.at("bool").storage[4], std::byte{1});
  }
}

TEST(Pth, ReadsCodes) {
  const MappedFile file = golden("codes.pth");
  const auto tensors = by_name(parse_pth(file.bytes(), "codes.pth"));
  ASSERT_EQ(tensors.size(), 4u);
  EXPECT_EQ(tensors.at("e4m3.weight").dtype, DType::kF8E4M3);
  EXPECT_EQ(values(tensors.at("e4m3.weight")), range(-3, 5));
  EXPECT_EQ(tensors.at("e5m2").dtype, DType::kF8E5M2);
  EXPECT_EQ(values(tensors.at("e5m2")), range(1, 5));
  EXPECT_EQ(tensors.at("i8").dtype, DType::kI8);
  EXPECT_EQ(tensors.at("i8").storage[0], std::byte{0xfd});
  // As a checkpoint, with their scales.
  const Checkpoint checkpoint =
      Checkpoint::open(std::filesystem::path(WAN_SOURCE_DIR) / "tests/golden/checkpoints/codes.pth");
  EXPECT_EQ(checkpoint.find("e4m3.weight_scale"), nullptr);
  EXPECT_EQ(values(*checkpoint.find("e4m3.weight")), (std::vector<float>{-1.5, -1, -0.5, 0, 2, 4, 6, 8}));
  const MappedFile transposed = golden("transposed_codes.pth");
  test::expect_error(ErrorCode::kUnsupported, "of codes; save a contiguous() copy",
                     [&] { parse_pth(transposed.bytes(), "transposed_codes.pth"); });
}

TEST(Pth, ReadsModuleStatesParametersWrappersAndZip64) {
  for (const char* name : {"module.pth", "wrapped.pth", "zip64.pth"}) {
    const MappedFile file = golden(name);
    const auto tensors = by_name(parse_pth(file.bytes(), name));
    ASSERT_EQ(tensors.size(), 3u) << name;
    EXPECT_EQ(values(tensors.at("weight")), range(0, 6)) << name;
    EXPECT_EQ(values(tensors.at("bias")), range(0, 2)) << name;
    EXPECT_EQ(values(tensors.at("parameter")), range(0, 4)) << name;
  }
}

TEST(Pth, JoinsTheNamesOfNestedContainers) {
  const MappedFile file = golden("nested.pth");
  const auto tensors = by_name(parse_pth(file.bytes(), "nested.pth"));
  ASSERT_EQ(tensors.size(), 4u);
  EXPECT_EQ(values(tensors.at("a.b.c.d.e")), range(0, 2));
  EXPECT_EQ(values(tensors.at("list.0")), range(0, 3));
  EXPECT_EQ(values(tensors.at("list.1.0")), range(0, 4));
  EXPECT_EQ(values(tensors.at("ordered.x")), range(0, 5));
}

TEST(Pth, RefusesFilesOfTorchThatAreNoTensors) {
  struct Case {
    const char* file;
    const char* code;
    const char* message;
  };
  for (const Case& bad :
       {Case{"malicious.pth", "bad_file", "refused: 'posix.system' is not needed for tensors"},
        Case{"legacy.pth", "unsupported", "save it again with torch.save"},
        Case{"compressed.pth", "unsupported", "compressed"},
        Case{"expanded.pth", "unsupported", "contiguous()"},
        Case{"too_deep.pth", "bad_file", "nested too deeply"},
        Case{"no_tensors.pth", "bad_file", "holds no tensors"}}) {
    const MappedFile file = golden(bad.file);
    const Thrown thrown = thrown_by([&] { parse_pth(file.bytes(), bad.file); });
    EXPECT_EQ(thrown.code, bad.code) << thrown.message;
    EXPECT_NE(thrown.message.find(bad.message), std::string::npos) << thrown.message;
    EXPECT_NE(thrown.message.find(bad.file), std::string::npos) << thrown.message;
  }
}

TEST(Pth, RefusesEveryTruncation) {
  for (const char* name : {"module.pth", "zip64.pth"}) {
    const MappedFile file = golden(name);
    for (std::size_t size = 0; size < file.bytes().size(); ++size)
      EXPECT_EQ(thrown_by([&] { parse_pth(file.bytes().first(size), "f"); }).code, "bad_file")
          << name << size;
  }
}

// A pickle, protocol 2, of {'w': tensor} whose numbers a test can spoil.
struct TensorPickle {
  std::string storage_type = "ctorch\nFloatStorage\n";
  std::string storage_key = "0";
  std::uint32_t storage_elements = 6;
  std::uint32_t offset = 0;
  std::vector<std::uint32_t> sizes{2, 3};
  std::vector<std::uint32_t> strides{3, 1};

  static std::string text(const std::string& value) {
    return std::string("X") + little_endian(value.size(), 4) + value;
  }
  static std::string integer(std::uint32_t value) { return std::string("J") + little_endian(value, 4); }
  static std::string tuple(const std::vector<std::uint32_t>& values) {
    std::string code = "(";
    for (const std::uint32_t value : values) code += integer(value);
    return code + "t";
  }
  std::string tensor() const {
    return std::string("ctorch._utils\n_rebuild_tensor_v2\n((") + text("storage") + storage_type +
           text(storage_key) + text("cpu") + integer(storage_elements) + "tQ" + integer(offset) +
           tuple(sizes) + tuple(strides) +
           "\x89"
           "ccollections\nOrderedDict\n)RtR";
  }
  std::string build() const { return std::string("\x80\x02}") + text("w") + tensor() + "s."; }
};

ZipBuilder archive(const std::string& pickle) {
  ZipBuilder zip;
  zip.entries = {{.name = "archive/data.pkl", .data = pickle},
                 {.name = "archive/byteorder", .data = "little"},
                 {.name = "archive/data/0", .data = std::string(24, '\0')},
                 {.name = "archive/version", .data = "3\n"}};
  return zip;
}

Thrown pth_thrown(const std::string& file) {
  return thrown_by([&] { parse_pth(as_byte_span(file), "model.pth"); });
}

TEST(Pth, ReadsAnArchiveBuiltByHand) {
  ZipBuilder zip = archive(TensorPickle{}.build());
  for (const bool zip64 : {false, true}) {
    zip.zip64 = zip64;
    zip.comment = zip64 ? "a comment" : "";
    const std::string file = zip.build();
    const CheckpointFile parsed = parse_pth(as_byte_span(file), "model.pth");
    ASSERT_EQ(parsed.tensors.size(), 1u);
    EXPECT_EQ(parsed.tensors[0].shape, (Shape{2, 3}));
  }
}

TEST(Pth, RefusesDamagedArchives) {
  const ZipBuilder good = archive(TensorPickle{}.build());
  std::map<std::string, ZipBuilder> cases;
  const auto spoil = [&](const char* what) -> ZipBuilder& { return cases.emplace(what, good).first->second; };
  spoil("size beyond the file").entries[2].size_lie = 1000;
  spoil("size shortened: another storage size").entries[2].size_lie = -4;
  spoil("two sizes").entries[2].packed_lie = 1;
  spoil("offset beyond the file").entries[2].offset_lie = 100000;
  spoil("offset into data").entries[2].offset_lie = 7;
  spoil("local name differs").entries[2].local_name = "archive/data/1";
  spoil("overlapping entries").entries[1].size_lie = 40;
  spoil("entry twice").entries[1].name = spoil("entry twice").entries[2].name;
  spoil("two pickles").entries[1].name = "other/data.pkl";
  spoil("no pickle").entries[0].name = "archive/data.pk";
  spoil("directory beyond the file").directory_offset_lie = 100000;
  spoil("directory misplaced").directory_offset_lie = -1;
  spoil("more entries than stand there").entry_count_lie = 1;
  for (auto& [what, zip] : cases)
    for (const bool zip64 : {false, true}) {
      zip.zip64 = zip64;
      const Thrown thrown = pth_thrown(zip.build());
      EXPECT_EQ(thrown.code, "bad_file") << what << (zip64 ? " (zip64): " : ": ") << thrown.message;
    }
  ZipBuilder huge = good;
  huge.zip64 = true;
  for (const std::int64_t lie : {INT64_MAX - 1000, INT64_MIN + 1000}) {
    huge.entries[2].size_lie = lie;
    EXPECT_EQ(pth_thrown(huge.build()).code, "bad_file");
    huge.entries[2].size_lie = 0;
    huge.directory_offset_lie = lie;
    EXPECT_EQ(pth_thrown(huge.build()).code, "bad_file");
    huge.directory_offset_lie = 0;
    huge.entry_count_lie = lie;
    EXPECT_EQ(pth_thrown(huge.build()).code, "bad_file");
    huge.entry_count_lie = 0;
  }
}

TEST(Pth, RefusesWhatTorchNeverWrites) {
  ZipBuilder encrypted = archive(TensorPickle{}.build());
  encrypted.entries[0].flags = 1;
  EXPECT_EQ(pth_thrown(encrypted.build()).code, "unsupported");
  ZipBuilder big_endian = archive(TensorPickle{}.build());
  big_endian.entries[1].data = "big";
  EXPECT_EQ(pth_thrown(big_endian.build()).code, "unsupported");
  ZipBuilder script = archive(TensorPickle{}.build());
  script.entries[3].name = "archive/constants.pkl";
  EXPECT_NE(pth_thrown(script.build()).message.find("TorchScript"), std::string::npos);
  EXPECT_EQ(pth_thrown("no archive at all, whatever its name").code, "bad_file");
}

TEST(Pth, ChecksTheExtentOfEveryTensorAgainstItsStorage) {
  std::map<std::string, TensorPickle> cases;
  cases["offset at the end"] = {.offset = 1};
  cases["offset far out"] = {.offset = 0x7fffffff};
  cases["negative offset"] = {.offset = 0xffffffff};
  cases["sizes too large"] = {.sizes = {3, 3}};
  cases["strides too large"] = {.strides = {4, 1}};
  cases["overflowing extent"] = {.sizes = {0x7fffffff, 0x7fffffff, 0x7fffffff}, .strides = {1, 1, 1}};
  cases["negative size"] = {.sizes = {0xffffffff, 3}};
  cases["negative stride"] = {.strides = {0xfffffffd, 1}};
  cases["sizes and strides differ in number"] = {.strides = {3, 1, 1}};
  cases["seven dimensions"] = {.sizes = {1, 1, 1, 1, 1, 1, 1}, .strides = {1, 1, 1, 1, 1, 1, 1}};
  cases["storage larger than its entry"] = {.storage_elements = 7};
  cases["storage smaller than its entry"] = {.storage_elements = 5, .sizes = {1, 3}};
  cases["negative storage"] = {.storage_elements = 0xffffffff};
  cases["storage not in the archive"] = {.storage_key = "1"};
  cases["storage outside data/"] = {.storage_key = "../byteorder"};
  for (const auto& [what, pickle] : cases) {
    const Thrown thrown = pth_thrown(archive(pickle.build()).build());
    EXPECT_EQ(thrown.code, "bad_file") << what << ": " << thrown.message;
  }
  EXPECT_EQ(pth_thrown(archive(TensorPickle{.sizes = {2, 0}, .strides = {9, 9}}.build()).build()).code, "");
}

TEST(Pth, RefusesPicklesThatAreMalformedOrDoMoreThanTensorsNeed) {
  const std::string tensor = TensorPickle{}.tensor();
  const std::map<std::string, std::string> cases{
      {"empty", ""},
      {"no end", "\x80\x02}"},
      {"nothing on the stack", "\x80\x02."},
      {"protocol 0", std::string("\x80\x00}.", 4)},
      {"protocol 9", "\x80\x09}."},
      {"builtins.eval",
       "\x80\x02"
       "cbuiltins\neval\n."},
      {"a storage's method",
       "\x80\x02"
       "ctorch.storage\n_load_from_bytes\n."},
      {"INST", "\x80\x02(ios\nsystem\n."},
      {"OBJ", "\x80\x02(o."},
      {"NEWOBJ", "\x80\x02)\x81."},
      {"EXT1", "\x80\x02\x82\x01."},
      {"PERSID", "\x80\x02P0\n."},
      {"global without an end",
       "\x80\x02"
       "cos"},
      {"calling a dict", "\x80\x02})R."},
      {"calling a storage type",
       "\x80\x02"
       "ctorch\nFloatStorage\n)R."},
      {"build on a tensor", "\x80\x02" + tensor + "}b."},
      {"persistent id that is no storage", "\x80\x02(K\x01tQ."},
      {"memo that was never set", "\x80\x02h\x05."},
      {"append to a dict",
       "\x80\x02}K\x01"
       "a."},
      {"mark without items' container",
       "\x80\x02(K\x01"
       "e."},
      {"items without a mark",
       "\x80\x02]K\x01"
       "e."},
      {"odd dict", "\x80\x02}(K\x01u."},
      {"pop below the mark", "\x80\x02](0."},
      {"text beyond the end",
       "\x80\x02X\xff\xff\xff\x7f"
       "abc."},
      {"text of no UTF-8", std::string("\x80\x02}X\x01\x00\x00\x00\xffK\x01s.", 13)},
      {"integer of 9 bytes",
       "\x80\x02\x8a\x09"
       "123456789."},
      {"bare tensor", "\x80\x02" + tensor + "."},
      {"key that is a tensor", "\x80\x02}" + tensor + tensor + "s."},
      {"dict within itself", "\x80\x02}q\x01(X\x01" + std::string(3, '\0') + "ah\x01u."},
      {"same name twice",
       "\x80\x02}(" + TensorPickle::text("a") + tensor + TensorPickle::text("a") + tensor + "u."},
  };
  for (const auto& [what, pickle] : cases) {
    const Thrown thrown = pth_thrown(archive(pickle).build());
    EXPECT_TRUE(thrown.code == "bad_file" || (thrown.code == "unsupported" && what.starts_with("protocol")))
        << what << ": " << thrown.code << " " << thrown.message;
  }
  EXPECT_NE(pth_thrown(archive(cases.at("builtins.eval")).build()).message.find("'builtins.eval'"),
            std::string::npos);
}

TEST(Pth, BoundsWhatSharedContainersCost) {
  // A list of 1,000 items, copied by OrderedDict or walked again and again.
  std::string pairs = "\x80\x02](";
  for (int i = 0; i < 1000; ++i) pairs += "K\x01K\x01\x86";
  pairs += "eq\x01";
  std::string copies = pairs;
  for (int i = 0; i < 100000; ++i) copies += "0ccollections\nOrderedDict\nh\x01\x85R";
  EXPECT_NE(pth_thrown(archive(copies + ".").build()).message.find("items"), std::string::npos);
  std::string doubling = "\x80\x02]q\x01";  // each level holds the level below twice
  for (char level = 1; level < 60; ++level)
    doubling += std::string("](h") + level + "h" + level + "eq" + static_cast<char>(level + 1);
  EXPECT_EQ(pth_thrown(archive(doubling + ".").build()).code, "bad_file");
}

}  // namespace
}  // namespace wan
