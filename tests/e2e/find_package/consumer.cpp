#include <cstdio>

#include "wan/engine.h"

int main(int, char** argv) try {
  wan::Engine engine({.ckpt_dir = argv[1], .threads = 1});
  wan::GenerationRequest request{
      .prompt = "a cat", .size = wan::VideoSize{32, 32}, .frame_num = 1, .seed = 7};
  request.sample_steps = 1;
  request.save_file = argv[2];
  std::printf("%s %lld\n", wan::version(), static_cast<long long>(engine.generate(request).frames));
} catch (const wan::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return wan::exit_status(error.code());
}
