#pragma once
// Expects a wan::Error of one code whose message holds a text.

#include <gtest/gtest.h>

#include <string>

#include "wan/error.h"

namespace wan::test {

/// Fails the test where `error`, null for none, has another code or a message without `part`.
inline void check_error(const Error* error, ErrorCode code, const std::string& part) {
  if (!error) {
    ADD_FAILURE() << "no error; expected " << error_code_name(code) << " with \"" << part << '"';
    return;
  }
  EXPECT_EQ(error->code(), code) << error->what();
  EXPECT_NE(std::string(error->what()).find(part), std::string::npos)
      << "expected \"" << part << "\" in: " << error->what();
}

template <typename Function>
void expect_error(ErrorCode code, const std::string& part, Function&& function) {
  try {
    function();
  } catch (const Error& error) {
    return check_error(&error, code, part);
  }
  check_error(nullptr, code, part);
}

}  // namespace wan::test
