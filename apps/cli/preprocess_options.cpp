#include "preprocess_options.h"

#include <fmt/format.h>

#include "arguments.h"
#include "base/error.h"

namespace wan {

void add_preprocess_arguments(CLI::App& command, PreprocessArguments& o, const char* official,
                              const char* more) {
  const auto add_int = [&](const char* name, int& target, const char* description) {
    command
        .add_option_function<std::string>(
            name, [&target, name](const std::string& text) { target = parse_number<int>(name, text); },
            description)
        ->type_name("INT")
        ->default_str(std::to_string(target))
        ->group(official);
  };
  command
      .add_option("--ckpt_path", o.ckpt_path,
                  "process_checkpoint of the checkpoint: det/yolov10m.onnx, "
                  "pose2d/vitpose_h_wholebody.onnx/end2end.onnx and, "
                  "to replace, sam2/sam2_hiera_large.pt")
      ->group(official);
  command.add_option("--resolution_area", o.resolution_area, "Width and height whose area the videos have")
      ->expected(2)
      ->type_name("W H")
      ->default_str("1280 720")
      ->group(official);
  command
      .add_flag("--retarget_flag", o.retarget_flag,
                "The bones of the picture's person in place of those of the video's, which are measured in "
                "its first frame; not "
                "with --replace_flag")
      ->group(official);
  command
      .add_flag("--use_flux", o.use_flux, "Not here: --edited_refer and --edited_frame take edited pictures")
      ->group(official);
  add_int("--iterations", o.iterations, "How often the mask is widened; 0: it stays as it is");
  add_int("--k", o.k, "Pixels of the square that widens it");
  add_int("--w_len", o.w_len, "Blocks across, into which the mask's box is cut");
  add_int("--h_len", o.h_len, "Blocks down; those with a pixel of the mask are filled");
  command
      .add_option("--edited_refer", o.edited_refer,
                  "With --retarget_flag: the character's picture, edited so that all of the body is seen "
                  "from the front; bones "
                  "are measured in it")
      ->group(more);
  command.add_option("--edited_frame", o.edited_frame, "The same of the person in the video")->group(more);
  command
      .add_flag(
          "--pose_rgb", o.pose_rgb,
          "Give the pose network red first, as it was trained; the official program gives it blue first")
      ->group(more);
}

void take_preprocess_arguments(const PreprocessArguments& o, PreprocessOptions& options) {
  WAN_CHECK_FIELD(!o.use_flux, kUnsupported, "use_flux",
                  "--use_flux needs FLUX.1-Kontext, an image editor that is not in this program: edit both "
                  "pictures with any "
                  "editor so that the whole body is seen from the front, and give them with --retarget_flag "
                  "--edited_refer FILE "
                  "--edited_frame FILE");
  options.ckpt_path = o.ckpt_path;
  WAN_CHECK_FIELD(o.resolution_area.empty() || o.resolution_area.size() == 2, kInvalidArgument,
                  "resolution_area",
                  "--resolution_area: expected width and height, such as 1280 720, got {} value",
                  o.resolution_area.size());
  if (!o.resolution_area.empty())
    options.resolution_area = {parse_number<int>("--resolution_area", o.resolution_area[0]),
                               parse_number<int>("--resolution_area", o.resolution_area[1])};
  options.retarget_flag = o.retarget_flag;
  options.edited_refer = o.edited_refer;
  options.edited_frame = o.edited_frame;
  options.iterations = o.iterations;
  options.k = o.k;
  options.w_len = o.w_len;
  options.h_len = o.h_len;
  options.pose_rgb = o.pose_rgb;
}

std::string summary_of(const PreprocessResult& result) {
  std::string text =
      fmt::format("{} frames of {} at {:.4g} a second, from {} of {}; the detector found someone in {}",
                  result.frames, format_video_size(result.size), result.fps, result.video_frames,
                  format_video_size(result.video_size), result.frames - result.without_person);
  if (result.without_face > 0) text += fmt::format(", a face was missing in {}", result.without_face);
  if (result.without_mask > 0) text += fmt::format(", a mask in {}", result.without_mask);
  return text;
}

}  // namespace wan
