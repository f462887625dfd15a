// Asks a language model without the program round it: tools/golden/smollm2.py compares its answers, bench/language_model.py times them.
//   ask_model FOLDER SYSTEM PROMPT TOKENS [DEVICE] [TIMES]
// The question is asked TIMES times (1), each from nothing; each time's seconds are told.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <vector>

#include "extension/local_model.h"
#include "tokenizers/byte_level_tokenizer.h"
#include "wan/error.h"

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fputs("usage: ask_model FOLDER SYSTEM PROMPT TOKENS [DEVICE] [TIMES]\n", stderr);
    return 2;
  }
  using Clock = std::chrono::steady_clock;
  try {
    wan::EngineOptions options;
    options.device = argc > 5 ? argv[5] : "cpu";
    const auto on_event = [](const wan::Event&) {};
    wan::LocalQwen model(argv[1], options, on_event, nullptr);
    const wan::LocalQuestion question{
        .system = argv[2], .prompt = argv[3], .seed = 0, .max_tokens = std::atoi(argv[4])};
    const int times = argc > 6 ? std::atoi(argv[6]) : 1;
    std::vector<std::vector<double>> seconds;  // until each token
    wan::LocalAnswer answer;
    for (int time = 0; time < times; ++time) {
      const Clock::time_point start = Clock::now();
      std::vector<double>& until = seconds.emplace_back();
      answer = model.ask(
          question,
          [&](std::int64_t) { until.push_back(std::chrono::duration<double>(Clock::now() - start).count()); },
          nullptr);
    }
    const auto tokenizer = wan::load_byte_level_tokenizer(argv[1]);
    const nlohmann::ordered_json json = {
        {"ids", tokenizer.encode(wan::chat_turns(question.system, question.prompt))},
        {"answer", answer.ids},
        {"text", answer.text},
        {"ended", answer.ended},
        {"seconds", seconds}};
    std::puts(json.dump().c_str());
  } catch (const wan::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
  return 0;
}
