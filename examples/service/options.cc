#include "plimsoll/examples/service/options.h"

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace example {
namespace {

absl::string_view Absl(std::string_view s) { return {s.data(), s.size()}; }

absl::Status Refuse(std::string_view name, std::string_view value, std::string_view wanted) {
  return absl::InvalidArgumentError(
      absl::StrCat(Absl(name), ": \"", absl::CEscape(Absl(value)), "\" is not ", Absl(wanted)));
}

absl::StatusOr<absl::Duration> Seconds(std::string_view name, std::string_view value) {
  double seconds = 0;
  if (!absl::SimpleAtod(Absl(value), &seconds) || !(seconds >= 0 && seconds <= 3600)) {
    return Refuse(name, value, "a number of seconds from 0 to 3600");
  }
  return absl::Seconds(seconds);
}

}  // namespace

const std::string_view kUsage =
    R"(A service in a bare container: work shared by goroutines over a channel.

  service [--port N] [--host ADDRESS] [--grace SECONDS] [--drain SECONDS]

  --port N         the port; 0: any free one. PORT in the environment, else 8080
  --host ADDRESS   the IP address to listen at. HOST in the environment, else every interface
  --grace SECONDS  after SIGTERM, serve on for so long, not ready any more   (0)
  --drain SECONDS  then wait at most so long for what was begun              (20)

  GET /            the squares of 1 to 1000, added up by four goroutines
  GET /limits      what this container may use, as JSON
  GET /startupz /livez /readyz   for probes; ?verbose and ?json tell more

Exit code: 0 after SIGTERM or SIGINT; 1 if the port cannot be had; 2 for a flag that makes no sense.
)";

absl::StatusOr<Options> ParseOptions(std::span<char* const> arguments,
                                     const std::function<const char*(const char*)>& environment) {
  const auto from_environment = [&](const char* name, std::string_view otherwise) {
    const char* value = environment(name);
    return std::string(value != nullptr && *value != '\0' ? std::string_view(value) : otherwise);
  };
  struct Setting {
    std::string_view flag;
    std::string name;  // where the value came from, for errors
    std::string value;
  };
  Setting port{"--port", "PORT in the environment", from_environment("PORT", "8080")};
  Setting host{"--host", "HOST in the environment", from_environment("HOST", "")};
  Setting grace{"--grace", "--grace", "0"};
  Setting drain{"--drain", "--drain", "20"};

  Options options;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view argument = arguments[i];
    if (argument == "--help" || argument == "-h") {
      options.help = true;
      return options;
    }
    const size_t equals = argument.find('=');
    const std::string_view flag = argument.substr(0, equals);
    Setting* setting = nullptr;
    for (Setting* s : {&port, &host, &grace, &drain}) {
      if (s->flag == flag) setting = s;
    }
    if (setting == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", absl::CEscape(Absl(argument)), "\" is not a flag; see --help"));
    }
    if (equals == std::string_view::npos && i + 1 == arguments.size()) {
      return absl::InvalidArgumentError(absl::StrCat(Absl(flag), " wants a value"));
    }
    setting->name = std::string(flag);
    setting->value = std::string(equals != std::string_view::npos ? argument.substr(equals + 1)
                                                                  : arguments[++i]);
  }

  int number = 0;
  if (!absl::SimpleAtoi(port.value, &number) || number < 0 || number > 65535) {
    return Refuse(port.name, port.value, "a port from 0 to 65535");
  }
  const bool bare_ipv6 = host.value.find(':') != std::string::npos && host.value.front() != '[';
  absl::StatusOr<plimsoll::net::Address> address =
      plimsoll::net::Address::Parse(bare_ipv6 ? absl::StrCat("[", host.value, "]:", number)
                                              : absl::StrCat(host.value, ":", number));
  if (!address.ok()) return Refuse(host.name, host.value, "an IP address");
  options.address = *std::move(address);

  absl::StatusOr<absl::Duration> seconds = Seconds(grace.name, grace.value);
  if (!seconds.ok()) return seconds.status();
  options.grace = *seconds;
  seconds = Seconds(drain.name, drain.value);
  if (!seconds.ok()) return seconds.status();
  options.drain = *seconds;
  return options;
}

}  // namespace example
