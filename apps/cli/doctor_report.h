#pragma once
// A doctor's report as text and as JSON.

#include <string>

#include "wan/doctor.h"

namespace wan {

std::string doctor_text(const DoctorReport& report);
/// One JSON document; bytes, seconds, bytes a second.
std::string doctor_json(const DoctorReport& report);

}  // namespace wan
