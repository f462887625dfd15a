#pragma once
// What the program writes to its standard streams. Nothing here throws for a stream that cannot be written: a run is worth
// more than its report. Text that comes from a user or a file passes base/untrusted_text.h on its way here.

#include <cstdio>
#include <string>
#include <string_view>

namespace wan {

/// Opens file descriptors 0 to 2 where the caller has closed them: a video would be opened under one of their numbers
/// otherwise, and messages written into it.
void open_closed_streams() noexcept;

/// Text that only informs, usually on standard error; lost where it cannot be written.
void write_note(std::FILE* stream, std::string_view text) noexcept;

/// What a command was asked for, on standard output. After the first failure nothing more is written: half a line in the
/// middle would be worse than an end that is missing.
void write_output(std::string_view text) noexcept;

/// A JSON document and a line's end on standard output, without a character that a terminal would obey.
void write_json(const std::string& document);

/// Why standard output is not whole ("No space left on device"); nullptr where all of it was written.
const char* lost_output() noexcept;

}  // namespace wan
