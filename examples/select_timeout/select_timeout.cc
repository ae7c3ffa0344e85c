// Select waits for whichever comes first: a value, the end of the stream, or too much time.
#include <cstdio>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/chan/select.h"
#include "plimsoll/runtime/runtime.h"

using plimsoll::Channel;
using plimsoll::OnRecv;
using plimsoll::Select;
using plimsoll::Timeout;

int main(int argc, char** argv) {
  return plimsoll::Main(argc, argv, [] {
    Channel<std::string> answers(1);
    const auto wait = [&](absl::Duration limit) {
      Select(OnRecv(answers,
                    [](std::optional<std::string> answer) {
                      std::puts(answer ? answer->c_str() : "there will be no more answers");
                    }),
             Timeout(limit, [] { std::puts("no answer in time"); }));
    };
    wait(absl::Milliseconds(1));
    answers.Send("the answer");
    wait(absl::Hours(1));
    answers.Close();
    wait(absl::Hours(1));
    return 0;
  });
}
