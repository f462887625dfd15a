#pragma once
// The video's size from the image's: each official task derives it from the image's aspect ratio and an area in a
// way of its own.

#include <cstdint>

namespace wan {

struct ImageSize {
  int width = 0;
  int height = 0;
  bool operator==(const ImageSize&) const = default;
};

/// I2V-A14B (wan/image2video.py): about `max_area` pixels in the image's aspect ratio, each side rounded down to
/// `stride` * `patch`, the VAE's spatial stride and the transformer's patch. Throws InvalidArgument where a side
/// would be zero.
ImageSize area_size_i2v(ImageSize image, std::int64_t max_area, int stride, int patch);

/// TI2V-5B (best_output_size in wan/utils/utils.py): of the two largest sizes of at most `expected_area` pixels that are
/// rounded down to multiples of `width_step` and `height_step` width first or height first, the one whose aspect ratio is
/// closer to the image's. Throws InvalidArgument where a side would be zero.
ImageSize best_output_size(ImageSize image, int width_step, int height_step, std::int64_t expected_area);

/// TI2V-5B: the size to resize an image to so that it covers `target`, and where in it the centre crop begins.
struct CoverCrop {
  ImageSize resized;
  int x = 0;
  int y = 0;
};
CoverCrop cover_crop(ImageSize image, ImageSize target);

/// S2V-14B (get_size_less_than_area in wan/speech2video.py): the image's own size, or what it shrinks to, each side rounded up to
/// `step`, of at most `largest_area` pixels; an image that fits is not enlarged. Throws InvalidArgument where nothing fits.
ImageSize size_within_area(ImageSize image, std::int64_t largest_area, int step);

/// torchvision's Resize(side): the shorter side becomes `side`, the longer one is rounded down.
ImageSize short_side_size(ImageSize image, int side);

/// torchvision's CenterCrop: where the image lies in a picture of another size, and where in it the part that is kept begins.
struct CenterCrop {
  int left = 0;  // columns of padding before it
  int top = 0;
  int x = 0;  // its first column that is kept
  int y = 0;
  bool pads = false;  // whether the image is shorter than the picture on a side
};
CenterCrop center_crop(ImageSize image, ImageSize target);

}  // namespace wan
