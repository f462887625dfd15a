#pragma once
// Resizing of images as the official image tasks do it: Lanczos on 8 bits (TI2V-5B), bicubic on floats (A14B), bilinear on 8 bits and
// on floats (S2V-14B), linear as OpenCV does it (Animate-14B).

#include <span>

#include "media/image.h"

namespace wan {

/// Equal to Pillow 13's image.resize((width, height), Image.LANCZOS): the filter widens as an image shrinks, weights are
/// fixed point, and the result of the first pass is rounded to 8 bits. Throws InvalidArgument unless both sides are positive.
Image resize_lanczos(const Image& image, int width, int height);
/// The same with Image.BICUBIC.
Image resize_bicubic(const Image& image, int width, int height);
/// The same with Image.BILINEAR.
Image resize_bilinear(const Image& image, int width, int height);

/// Equal to OpenCV's resize() with INTER_LINEAR of 8-bit images: neighbours are weighted in fixed point, wherever the picture shrinks; halved
/// both ways it is the mean of four. Throws InvalidArgument unless both sides are positive.
Image resize_opencv_linear(const Image& image, int width, int height);

/// Equal to OpenCV's resize() with INTER_AREA of 8-bit images that shrink: each pixel is the mean of what it covers, summed in fp32, or in whole
/// numbers where both factors are whole. Throws InvalidArgument where a side would grow or is not positive.
Image resize_opencv_area(const Image& image, int width, int height);

/// PyTorch's interpolate(mode="bicubic", align_corners=False, antialias=False): a = -0.75, borders repeated, no widening of
/// the filter. `pixels` is [in_height, in_width, 3], `out` [height, width, 3]; they must not overlap. Results may leave
/// the range of the input. Throws InvalidArgument where a span has another size.
void resize_bicubic(std::span<const float> pixels, int in_width, int in_height, std::span<float> out,
                    int width, int height);

/// PyTorch's interpolate(mode="bilinear", align_corners=False, antialias=True): the filter widens as an image shrinks. Spans as
/// resize_bicubic() takes them.
void resize_bilinear(std::span<const float> pixels, int in_width, int in_height, std::span<float> out,
                     int width, int height);

}  // namespace wan
