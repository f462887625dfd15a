// libwan_mpi.so: MessageLibrary on the MPI that the program was built with.

#include <mpi.h>

#include <stdexcept>
#include <vector>

#include "parallel/mpi/message_library.h"

namespace {

constexpr int kTag = 1;

void check(int status, const char* call) {
  if (status == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(status, text, &length);
  throw std::runtime_error(std::string(call) + ": " + text);
}

class Mpi final : public wan::MessageLibrary {
 public:
  Place start() override {
    int provided = 0;
    check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
    if (provided < MPI_THREAD_FUNNELED)
      throw std::runtime_error("MPI_Init_thread: this MPI is built without threads");
    check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    Place place;
    check(MPI_Comm_rank(MPI_COMM_WORLD, &place.rank), "MPI_Comm_rank");
    check(MPI_Comm_size(MPI_COMM_WORLD, &place.size), "MPI_Comm_size");
    return place;
  }

  void finish() override { check(MPI_Finalize(), "MPI_Finalize"); }

  int send(const std::byte* data, std::size_t bytes, int to) override {
    const int transfer = free_transfer();
    check(MPI_Isend(data, static_cast<int>(bytes), MPI_BYTE, to, kTag, MPI_COMM_WORLD, &request(transfer)),
          "MPI_Isend");
    return transfer;
  }

  Arrival look() override {
    int found = 0;
    MPI_Status status;
    check(MPI_Improbe(MPI_ANY_SOURCE, kTag, MPI_COMM_WORLD, &found, &message_, &status), "MPI_Improbe");
    if (found == 0) return {};
    int bytes = 0;
    check(MPI_Get_count(&status, MPI_BYTE, &bytes), "MPI_Get_count");
    return {.found = true, .from = status.MPI_SOURCE, .bytes = static_cast<std::size_t>(bytes)};
  }

  int receive(std::byte* into, std::size_t bytes) override {
    const int transfer = free_transfer();
    check(MPI_Imrecv(into, static_cast<int>(bytes), MPI_BYTE, &message_, &request(transfer)), "MPI_Imrecv");
    return transfer;
  }

  bool is_done(int transfer) override {
    int done = 0;
    check(MPI_Test(&request(transfer), &done, MPI_STATUS_IGNORE), "MPI_Test");
    if (done != 0) free_.push_back(transfer);
    return done != 0;
  }

 private:
  int free_transfer() {
    if (free_.empty()) {
      requests_.push_back(MPI_REQUEST_NULL);
      return static_cast<int>(requests_.size()) - 1;
    }
    const int transfer = free_.back();
    free_.pop_back();
    return transfer;
  }
  MPI_Request& request(int transfer) { return requests_[static_cast<std::size_t>(transfer)]; }

  std::vector<MPI_Request> requests_;
  std::vector<int> free_;
  MPI_Message message_ = MPI_MESSAGE_NULL;
};

}  // namespace

extern "C" wan::MessageLibrary* wan_mpi_library() {
  static Mpi mpi;
  return &mpi;
}
