#pragma once
// An orthonormal basis of a matrix's columns: the Q of its QR decomposition, with the signs of LAPACK's.

#include "tensor/tensor.h"

namespace wan {

/// matrix [rows, columns] and q, of the same shape, f32 on the host, contiguous; rows >= columns. By Householder reflections as LAPACK's
/// geqrf takes them, each away from the column's first value, so that R's diagonal may be negative. In f64.
void orthonormalize(const TensorView& matrix, const TensorView& q);

}  // namespace wan
