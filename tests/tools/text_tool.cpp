// Cleans the prompts on standard input, one JSON string a line, and answers each with one JSON object: what
// tools/golden/compare_text.py compares with Python.
//   text_tool

#include <iostream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/prompt_cleaning.h"

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    nlohmann::json answer;
    try {
      const auto prompt = nlohmann::json::parse(line).get<std::string>();
      answer["cleaned"] = wan::clean_prompt(prompt);
    } catch (const std::exception& error) {
      answer["error"] = error.what();
    }
    std::cout << answer.dump() << '\n';
  }
}
