// A whole service in a bare container: it is sized by the quota it finds, shares work between
// goroutines over a channel, tells its limits and its health, and drains when it is asked to end.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "plimsoll/container/limits_json.h"
#include "plimsoll/examples/service/options.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/http/request.h"
#include "plimsoll/runtime/http/response_writer.h"
#include "plimsoll/runtime/runtime.h"
#include "plimsoll/runtime/service/service.h"

namespace {

using plimsoll::Channel;
using plimsoll::Go;

constexpr int kNumbers = 1000;
constexpr int kWorkers = 4;

// Each worker takes numbers until there are none left, and sends what its own come to.
int64_t SumOfSquares() {
  Channel<int> numbers(/*capacity=*/16);
  Channel<int64_t> sums(kWorkers);
  for (int w = 0; w < kWorkers; ++w) {
    Go([numbers, sums] {
      int64_t sum = 0;
      while (std::optional<int> n = numbers.Recv()) sum += int64_t{*n} * *n;
      sums.Send(sum);
    });
  }
  for (int n = 1; n <= kNumbers; ++n) numbers.Send(n);
  numbers.Close();
  int64_t total = 0;
  for (int w = 0; w < kWorkers; ++w) total += *sums.Recv();
  return total;
}

int Serve(const example::Options& options) {
  plimsoll::Service service(
      {.address = options.address, .grace = options.grace, .drain = options.drain});
  service.router().Handle("GET /", [](plimsoll::http::Request& request,
                                      plimsoll::http::ResponseWriter& response) {
    if (request.path() != "/") {  // the pattern "/" matches all below it
      response.Respond(404, "text/plain; charset=utf-8", "404 Not Found\n");
      return;
    }
    response.Respond(200, "text/plain; charset=utf-8",
                     absl::StrCat("The squares of 1 to ", kNumbers, ", shared by ", kWorkers,
                                  " goroutines over a channel, add up to ", SumOfSquares(), ".\n"));
  });
  service.router().Handle("GET /limits", [](plimsoll::http::Request&,
                                            plimsoll::http::ResponseWriter& response) {
    response.Respond(200, "application/json", plimsoll::container::ToJson(plimsoll::StartLimits()));
  });
  return service.Run();
}

}  // namespace

int main(int argc, char** argv) {
  const absl::StatusOr<example::Options> options = example::ParseOptions(
      std::span<char* const>(argv, static_cast<size_t>(argc)).subspan(argc > 0 ? 1 : 0), &getenv);
  if (!options.ok()) {
    fprintf(stderr, "service: %s\n", std::string(options.status().message()).c_str());
    return 2;
  }
  if (options->help) {
    fwrite(example::kUsage.data(), 1, example::kUsage.size(), stdout);
    return 0;
  }
  return plimsoll::Main(argc, argv, [&] { return Serve(*options); });
}
