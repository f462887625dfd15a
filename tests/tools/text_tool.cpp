// Cleans and tokenizes the prompts on standard input, one JSON string a line, and answers each with one JSON
// object: what tools/golden/compare_text.py compares with Python.
//   text_tool [TOKENIZER_FOLDER] [--raw]     --raw: the prompts are tokenized as they are

#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cleaning/prompt_cleaning.h"
#include "tokenizers/tokenizer.h"

namespace {

constexpr int kMaxTokens = 512;

nlohmann::json answer(const wan::Tokenizer* tokenizer, const std::string& prompt, bool raw) {
  if (tokenizer == nullptr) return {{"cleaned", wan::clean_prompt(prompt)}};
  if (raw) return {{"cleaned", prompt}, {"encoded", tokenizer->encode(prompt)}};
  const wan::TokenizedPrompt result = tokenizer->tokenize(prompt, kMaxTokens);
  return {{"cleaned", result.cleaned}, {"ids", result.ids}, {"mask", result.mask}};
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  std::unique_ptr<wan::Tokenizer> tokenizer;
  bool raw = false;
  for (const std::string& argument : arguments) {
    if (argument == "--raw") {
      raw = true;
    } else {
      tokenizer = wan::load_tokenizer(argument);
    }
  }
  std::string line;
  while (std::getline(std::cin, line)) {
    nlohmann::json result;
    try {
      result = answer(tokenizer.get(), nlohmann::json::parse(line).get<std::string>(), raw);
    } catch (const std::exception& error) {
      result["error"] = error.what();
    }
    std::cout << result.dump() << '\n';
  }
}
