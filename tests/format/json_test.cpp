// JSON that is wrong in every way: the one reader of it names the place, what was expected, and what to do.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "json/json_reader.h"
#include "json/strict_json.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"

namespace wan::test {
namespace {

void expect_refused(const std::string& text, const std::string& part) {
  for (const std::string& word : {part, std::string("[place]")})
    expect_error(ErrorCode::kBadFile, word, [&] { parse_strict_json(text, "place", 3); });
}

TEST(StrictJson, ReadsADocument) {
  const nlohmann::json json = parse_strict_json(R"({"a": [{"b": 1}], "b": "\u00e9"})", "place", 3);
  EXPECT_EQ(json["a"][0]["b"], 1);
  EXPECT_EQ(json["b"], "\xc3\xa9");
}

TEST(StrictJson, RefusesWhatIsNone) {
  for (const char* text : {"", "{", "{} x", "{\"a\": 1,}", "[1e999]", "\"\xff\"", "\"\xed\xa0\x80\"", "nul"})
    expect_refused(text, "malformed JSON");
}

TEST(StrictJson, RefusesRepeatedKeysOfOneObject) {
  expect_refused(R"({"a": 1, "b": 2, "a": 1})", "'a' stands twice");
  expect_refused(R"([{"a": {"b": 1, "b": 1}}])", "'b' stands twice");
  EXPECT_NO_THROW(parse_strict_json(R"([{"a": 1}, {"a": 1, "b": {"a": 1}}])", "place", 3));
}

TEST(StrictJson, RefusesDepthAndSizeBeforeTheRestIsRead) {
  EXPECT_NO_THROW(parse_strict_json("[[[]]]", "place", 3));
  expect_refused("[[[[]]]]", "3 nested levels");
  expect_refused(std::string(1000000, '['), "3 nested levels");
  expect_refused(std::string(kMostJsonBytes + 1, '['), "bytes of JSON");
}

TEST(StrictJson, SaysItShortly) {
  try {
    parse_strict_json("[\"" + std::string(100000, 'x'), "place", 3);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_LT(std::string(error.what()).size(), 500u);
  }
}

TEST(StrictJson, ReadsAFile) {
  const TempFolder folder;
  const std::filesystem::path path = folder.path() / "a.json";
  std::ofstream(path) << R"({"a": 1})";
  EXPECT_EQ(read_json_file(path, 1)["a"], 1);
  std::ofstream(path) << "{";
  expect_error(ErrorCode::kBadFile, "a.json", [&] { read_json_file(path, 1); });
  expect_error(ErrorCode::kBadFile, "none.json", [&] { read_json_file(folder.path() / "none.json", 1); });
}

TEST(JsonReader, NamesThePlaceOfWhatIsWrong) {
  const nlohmann::json json = parse_strict_json(R"({"a": [{"b": "text"}], "n": null, "i": -1})", "place", 3);
  const JsonReader reader(json, "place");
  EXPECT_EQ(reader.at("a").elements().at(0).at("b").text(), "text");
  EXPECT_FALSE(reader.find("n"));
  const auto refuses = [](const std::string& part, auto&& work) {
    expect_error(ErrorCode::kBadFile, part, [&] { work(); });
  };
  refuses("[place] expected a member \"c\"", [&] { reader.at("c"); });
  refuses("[place.a] expected a string, got array", [&] { reader.at("a").text(); });
  refuses("[place.a[].b] expected a number", [&] { reader.at("a").elements().at(0).at("b").number(); });
  refuses("[place.i] expected an integer from 0", [&] { reader.at("i").integer(); });
}

}  // namespace
}  // namespace wan::test
