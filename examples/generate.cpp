// The smallest program with the library: one prompt, one video, a line a phase.
//
// With CMake: find_package(wan REQUIRED), target_link_libraries(generate PRIVATE wan::wan).
//   ./generate models/demo "a red circle moves right on a blue background" video.mp4

#include <cstdio>
#include <variant>

#include "wan/engine.h"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s CHECKPOINT_DIR PROMPT VIDEO.mp4\n", argv[0]);
    return 2;
  }
  try {
    wan::Engine engine({.ckpt_dir = argv[1]});
    wan::GenerationRequest request;
    request.prompt = argv[2];
    request.save_file = argv[3];
    request.seed = 42;

    const auto on_event = [](const wan::Event& event) {
      if (const auto* phase = std::get_if<wan::PhaseFinished>(&event))
        std::printf("%-10s %6.2f s\n", wan::phase_name(phase->phase), phase->seconds);
    };
    const wan::GenerationResult result = engine.generate(request, on_event);
    std::printf("%s: %lld frames in %.2f s\n", result.save_file.c_str(),
                static_cast<long long>(result.frames), result.seconds);
  } catch (const wan::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return wan::exit_status(error.code());
  }
  return 0;
}
