#pragma once
// Expects a wan::Error of one code whose message holds a text.

#include <gtest/gtest.h>

#include <string>

#include "wan/error.h"

namespace wan::test {

template <typename Function>
void expect_error(ErrorCode code, const std::string& part, Function&& function) {
  try {
    function();
    ADD_FAILURE() << "no error; expected " << error_code_name(code) << " with \"" << part << '"';
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
        << "expected \"" << part << "\" in: " << error.what();
  }
}

}  // namespace wan::test
