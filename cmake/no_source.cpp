// For targets without a source of their own: a shared library that is linked from static ones, and precompiled headers.
