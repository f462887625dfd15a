#include "wan/preprocess.h"

#include "base/error.h"
#include "base/files.h"
#include "media/load_image.h"
#include "media/mp4_writer.h"
#include "media/video_reader.h"
#include "preprocess/official_networks.h"
#include "preprocess/run.h"

namespace wan {

void check_preprocess(const PreprocessOptions& options) {
  check_preprocess_options(options);
  with_field("video_path", [&] { open_video(options.video_path); });
  with_field("refer_path", [&] { load_image(options.refer_path); });
  if (!options.edited_refer.empty()) {
    with_field("edited_refer", [&] { load_image(options.edited_refer); });
    with_field("edited_frame", [&] { load_image(options.edited_frame); });
  }
  check_network_files(options);
  WAN_CHECK_FIELD(!file_exists(options.save_path) || is_folder(options.save_path), kInvalidArgument,
                  "save_path", "`save_path` {}: it is there and no folder; name another one",
                  options.save_path.string());
  if (!options.lossless) check_mp4_supported({});
}

PreprocessResult preprocess(const PreprocessOptions& options, const EventHandler& on_event,
                            const std::atomic<bool>* cancelled) {
  check_preprocess(options);
  const OfficialNetworks networks(options, on_event, cancelled);
  return run_preprocessing(options, networks.networks(), on_event, cancelled);
}

}  // namespace wan
