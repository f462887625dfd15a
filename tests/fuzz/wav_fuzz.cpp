// libFuzzer entry of the WAV reader: any bytes give samples of as many channels as it says, all finite, or a wan::Error.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "media/wav.h"
#include "wan/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto sound = wan::open_wav(std::as_bytes(std::span(data, size)), "input");
    std::size_t values = 0;
    for (wan::SoundSamples samples; sound->read(samples);) {
      if (samples.size() != static_cast<std::size_t>(sound->channels()) || samples[0].empty()) std::abort();
      for (const auto& channel : samples) {
        if (channel.size() != samples[0].size()) std::abort();
        values += channel.size();
        for (const float value : channel)
          if (!std::isfinite(value)) std::abort();
      }
    }
    if (values > size) std::abort();
  } catch (const wan::Error&) {
  }
  return 0;
}
