#pragma once
// fill_zero() by the name under which layers know it.

#include "ops/fill_zero.h"
