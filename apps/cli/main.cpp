#include "program.h"

int main(int argc, char** argv) {
  return wan::run_program(argc, argv);
}
