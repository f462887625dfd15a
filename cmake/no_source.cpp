// The shared library's own source: none. Its code comes whole from the static libraries it is linked from.
