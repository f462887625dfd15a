#include "weights/scaled_weights.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <deque>
#include <limits>

#include "format/file_builder.h"
#include "weights/convert.h"

namespace wan {
namespace {

std::string floats(const std::vector<float>& values) {
  std::string text;
  for (const float value : values) text += little_endian(std::bit_cast<std::uint32_t>(value), 4);
  return text;
}

/// A checkpoint of tensors in memory.
class Tensors {
 public:
  Tensors& add(const std::string& name, DType dtype, const Shape& shape, const std::string& bytes) {
    static std::deque<std::string> kept;  // what is attached points to it
    kept.push_back(bytes);
    const Shape strides = shape.elements() == 0 ? shape : contiguous_strides(shape);
    tensors_.push_back({.name = name,
                        .dtype = dtype,
                        .shape = shape,
                        .strides = strides,
                        .storage = as_byte_span(kept.back()),
                        .file = "x.safetensors"});
    return *this;
  }
  Tensors& metadata(const std::string& text) {
    metadata_["_quantization_metadata"] = text;
    return *this;
  }
  std::vector<TensorEntry> attached() const {
    std::vector<CheckpointFile> files{{.tensors = tensors_, .metadata = metadata_}};
    attach_scales(files, "x.safetensors");
    return files[0].tensors;
  }
  Thrown thrown() const {
    return thrown_by([&] { attached(); });
  }

 private:
  std::vector<TensorEntry> tensors_;
  std::map<std::string, std::string> metadata_;
};

std::vector<float> values_of(const TensorEntry& entry) {
  std::vector<float> values(static_cast<std::size_t>(entry.elements()));
  convert(entry, TensorView(values.data(), DType::kF32, entry.shape));
  return values;
}

// e4m3: 1 = 0x38, 2 = 0x40, -1 = 0xb8, 0.5 = 0x30.
const std::string kCodes("\x38\x40\xb8\x30", 4);

TEST(ScaledWeights, ThatLieTransposedAreRefused) {
  const std::string scale(4, '\0');
  std::vector<CheckpointFile> files{{.tensors = {{.name = "a.weight",
                                                  .dtype = DType::kF8E4M3,
                                                  .shape = {2, 2},
                                                  .strides = {1, 2},
                                                  .storage = as_byte_span(kCodes),
                                                  .file = "x.pth"},
                                                 {.name = "a.weight_scale",
                                                  .dtype = DType::kF32,
                                                  .shape = {1},
                                                  .strides = {1},
                                                  .storage = as_byte_span(scale),
                                                  .file = "x.pth"}},
                                     .metadata = {}}};
  const Thrown thrown = thrown_by([&] { attach_scales(files, "x.pth"); });
  EXPECT_EQ(thrown.code, "unsupported");
  EXPECT_NE(thrown.message.find("contiguous() copy"), std::string::npos) << thrown.message;
}

TEST(ScaledWeights, ALayerThatTwoWeightsEndInIsRefused) {
  const std::string text = R"({"layers": {"q": {"format": "float8_e4m3fn"}}})";
  const auto made = [&] {
    Tensors tensors;
    tensors.metadata(text).add("model.a.q.weight", DType::kF8E4M3, {2, 2}, kCodes);
    return tensors;
  };
  EXPECT_EQ(made().add("model.b.q.weight", DType::kF8E4M3, {2, 2}, kCodes).thrown().message.find("several") ==
                std::string::npos,
            false);
  EXPECT_EQ(made().thrown().message.find("several"), std::string::npos);
}

TEST(ScaledWeights, ANameOfDotsCostsNoMoreThanItsLength) {
  const auto thrown = Tensors()
                          .metadata(R"({"layers": {"q": {"format": "float8_e4m3fn"}}})")
                          .add(std::string(1 << 20, '.') + ".weight", DType::kF8E4M3, {2, 2}, kCodes)
                          .thrown();
  EXPECT_EQ(thrown.code, "bad_file") << thrown.message.substr(0, 200);
}

TEST(ScaledWeights, OnePerTensorARowOrABlock) {
  struct Case {
    Shape shape;
    std::vector<float> scales;
    std::vector<float> expected;
  };
  const Case cases[] = {{{}, {3}, {3, 6, -3, 1.5f}},       {{1}, {3}, {3, 6, -3, 1.5f}},
                        {{2}, {3, 10}, {3, 6, -10, 5}},    {{2, 1}, {3, 10}, {3, 6, -10, 5}},
                        {{1, 2}, {3, 10}, {3, 20, -3, 5}}, {{2, 2, 1}, {1, 2, 3, 4}, {1, 4, -3, 2}}};
  for (const char* suffix : {"scale_weight", "weight_scale", "weight_scale_inv"})
    for (const Case& c : cases) {
      const auto tensors = Tensors()
                               .add("model.q.weight", DType::kF8E4M3, {2, 2}, kCodes)
                               .add(std::string("model.q.") + suffix, DType::kF32, c.shape, floats(c.scales))
                               .attached();
      ASSERT_EQ(tensors.size(), 1u) << suffix;
      EXPECT_EQ(tensors[0].name, "model.q.weight");
      EXPECT_EQ(values_of(tensors[0]), c.expected) << suffix << " " << c.shape.to_string();
    }
}

TEST(ScaledWeights, OfComfyUI) {
  // A marker without elements, activations' scales, bytes called u8.
  const auto tensors = Tensors()
                           .add("scaled_fp8", DType::kF8E4M3, {0}, "")
                           .add("q.weight", DType::kU8, {2, 2}, kCodes)
                           .add("q.scale_weight", DType::kF32, {}, floats({2}))
                           .add("q.scale_input", DType::kF32, {}, floats({1}))
                           .add("k.weight", DType::kF8E4M3, {1, 4}, kCodes)
                           .add("norm.weight", DType::kF16, {1}, std::string(2, '\0'))
                           .attached();
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(values_of(tensors[0]), (std::vector<float>{2, 4, -2, 1}));
  EXPECT_EQ(values_of(tensors[1]), (std::vector<float>{1, 2, -1, 0.5f})) << "fp8 without a scale";
  // Described by layer, in a tensor or in the header, whose names lack a prefix.
  const std::string json = R"({"format":"float8_e5m2","full_precision_matrix_mult":true})";
  const auto described = Tensors()
                             .add("q.weight", DType::kU8, {1, 1}, "\x3c")  // e5m2: 1
                             .add("q.weight_scale", DType::kF32, {}, floats({5}))
                             .add("q.comfy_quant", DType::kU8, {static_cast<std::int64_t>(json.size())}, json)
                             .add("model.k.weight", DType::kI8, {1, 1}, "\xfe")
                             .add("model.k.weight_scale", DType::kF32, {1, 1}, floats({0.5f}))
                             .metadata(R"({"layers":{"k":{"format":"int8_tensorwise"}}})")
                             .attached();
  ASSERT_EQ(described.size(), 2u);
  EXPECT_EQ(values_of(described[0]), std::vector<float>{5});
  EXPECT_EQ(values_of(described[1]), std::vector<float>{-1});
}

TEST(ScaledWeights, Rotated) {
  std::string codes(512, '\0');
  codes[0] = 16;        // spread over the first row with the signs of the matrix's first column
  codes[256 + 1] = 16;  // over the second one with those of its second column
  for (const char* json : {R"({"format":"int8_tensorwise","convrot":true,"convrot_groupsize":256})",
                           R"({"format":"int8_tensorwise","params":{"convrot":true}})"}) {
    const auto tensors =
        Tensors()
            .add("q.weight", DType::kI8, {2, 256}, codes)
            .add("q.weight_scale", DType::kF32, {2, 1}, floats({1, 2}))
            .add("q.comfy_quant", DType::kU8, {static_cast<std::int64_t>(std::strlen(json))}, json)
            .attached();
    ASSERT_EQ(tensors.size(), 1u);
    const std::vector<float> values = values_of(tensors[0]);
    EXPECT_EQ((std::vector<float>{values[0], values[1], values[2], values[3], values[12], values[255]}),
              (std::vector<float>{1, 1, 1, -1, -1, 1}));
    EXPECT_EQ((std::vector<float>{values[256], values[257], values[258], values[259]}),
              (std::vector<float>{2, 2, -2, 2}));
  }
}

TEST(ScaledWeights, OfQuanto) {
  const auto tensors =
      Tensors()
          .add("q.weight._data", DType::kI8, {2, 1}, "\x03\xff")
          .add("q.weight._scale", DType::kBF16, {2, 1}, std::string("\x80\x3f\x00\x40", 4))  // 1, 2
          .add("q.input_scale", DType::kF32, {}, floats({1}))
          .add("q.output_scale", DType::kF32, {}, floats({1}))
          .attached();
  ASSERT_EQ(tensors.size(), 1u);
  EXPECT_EQ(tensors[0].name, "q.weight");
  EXPECT_EQ(values_of(tensors[0]), (std::vector<float>{3, -2}));
}

TEST(ScaledWeights, AScaleHasAWeightOfEightBits) {
  const std::string scale = floats({1});
  EXPECT_EQ(Tensors().add("q.scale_weight", DType::kF32, {}, scale).thrown().code, "bad_file");
  const Thrown wide = Tensors()
                          .add("q.weight", DType::kBF16, {1, 1}, std::string(2, '\0'))
                          .add("q.scale_weight", DType::kF32, {}, scale)
                          .thrown();
  EXPECT_EQ(wide.code, "bad_file");
  EXPECT_NE(wide.message.find("bf16"), std::string::npos) << wide.message;
  EXPECT_EQ(Tensors().add("q.weight", DType::kI8, {1, 1}, "\x01").thrown().code, "bad_file");
  EXPECT_EQ(Tensors()
                .add("q.weight", DType::kF8E4M3, {2, 2}, kCodes)
                .add("q.scale_weight", DType::kF32, {}, scale)
                .add("q.weight_scale", DType::kF32, {}, scale)
                .thrown()
                .code,
            "bad_file");
  for (const Shape& shape : {Shape{3}, Shape{2, 3}, Shape{0}})
    EXPECT_EQ(Tensors()
                  .add("q.weight", DType::kF8E4M3, {2, 2}, kCodes)
                  .add("q.scale_weight", DType::kF32, shape,
                       floats(std::vector<float>(static_cast<std::size_t>(shape.elements()), 1.0f)))
                  .thrown()
                  .code,
              "bad_file")
        << shape.to_string();
  EXPECT_EQ(Tensors()
                .add("q.weight", DType::kF8E4M3, {2, 2}, kCodes)
                .add("q.scale_weight", DType::kF32, {}, floats({std::numeric_limits<float>::infinity()}))
                .thrown()
                .code,
            "bad_file");
}

TEST(ScaledWeights, FormatsThatAreNotReadAreNamed) {
  for (const auto& [name, format] :
       {std::pair{"q.qweight", "Nunchaku"}, std::pair{"q.wscales", "Nunchaku"},
        std::pair{"q.weight_scale_2", "nvfp4"}, std::pair{"q.weight_global_scale", "nvfp4"}}) {
    const Thrown thrown = Tensors().add(name, DType::kU8, {1}, "\x01").thrown();
    EXPECT_EQ(thrown.code, "unsupported") << name;
    EXPECT_NE(thrown.message.find(format), std::string::npos) << thrown.message;
  }
  for (const char* format : {"mxfp8", "nvfp4", "convrot_w4a4"}) {
    const std::string json = std::string(R"({"format":")") + format + "\"}";
    const Thrown thrown =
        Tensors().add("q.comfy_quant", DType::kU8, {static_cast<std::int64_t>(json.size())}, json).thrown();
    EXPECT_EQ(thrown.code, "unsupported");
    EXPECT_NE(thrown.message.find(format), std::string::npos) << thrown.message;
  }
  const std::string json = R"({"format":"int8_tensorwise"})";
  EXPECT_EQ(Tensors()
                .add("q.weight", DType::kF8E4M3, {2, 2}, kCodes)
                .add("q.comfy_quant", DType::kU8, {static_cast<std::int64_t>(json.size())}, json)
                .thrown()
                .code,
            "bad_file")
      << "said to be int8";
}

}  // namespace
}  // namespace wan
