#include "media/ffmpeg_library.h"

#include <dlfcn.h>

#include "base/error.h"

namespace wan {

void* find_in_ffmpeg(const char* library, const char* function) {
  void* const loaded = ::dlopen(library, RTLD_LAZY | RTLD_LOCAL);
  WAN_CHECK(loaded != nullptr, kUnsupported,
            "FFmpeg's {}, which this program was built with, is not there ({}): install it (on Debian: "
            "apt-get install ffmpeg), build anew "
            "with the FFmpeg that is installed, or write lossless frames to NAME_%05d.png",
            library, ::dlerror());
  void* const address = ::dlsym(loaded, function);
  WAN_CHECK(address != nullptr, kUnsupported,
            "FFmpeg's {} has no {}: it is too old; 5.1 is the first that can be used", library, function);
  return address;
}

}  // namespace wan
