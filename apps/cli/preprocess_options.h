#pragma once
// The options of preprocessing: those of `wan preprocess`, and of `wan generate` with a video of its own.

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "wan/preprocess.h"

namespace wan {

/// Options beside the files, as text.
struct PreprocessArguments {
  std::string ckpt_path;
  std::vector<std::string> resolution_area;
  bool retarget_flag = false;
  bool use_flux = false;
  std::string edited_refer;
  std::string edited_frame;
  int iterations = 3;
  int k = 7;
  int w_len = 1;
  int h_len = 1;
  bool pose_rgb = false;

  friend bool operator==(const PreprocessArguments&, const PreprocessArguments&) = default;
};

void add_preprocess_arguments(CLI::App& command, PreprocessArguments& arguments, const char* official,
                              const char* more);

/// Those that are given, in `options`. Throws InvalidArgument and, for an image editor that is none of ours, Unsupported.
void take_preprocess_arguments(const PreprocessArguments& arguments, PreprocessOptions& options);

/// "106 frames of 1280*720 at 30 a second, of 88 of the video; in 2 the detector found nobody".
std::string summary_of(const PreprocessResult& result);

}  // namespace wan
