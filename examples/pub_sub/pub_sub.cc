// Publish and subscribe: one goroutine owns the list of subscribers, so nobody locks it. Others
// talk to it through channels.
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/chan/select.h"
#include "plimsoll/runtime/runtime.h"
#include "plimsoll/runtime/sync/wait_group.h"

using plimsoll::Channel;
using plimsoll::OnRecv;

int main(int argc, char** argv) {
  return plimsoll::Main(argc, argv, [] {
    Channel<std::string> news;
    Channel<Channel<std::string>> subscribe;
    plimsoll::WaitGroup broker;
    plimsoll::WaitGroup readers;

    broker.Go([=] {
      std::vector<Channel<std::string>> subscribers;
      for (bool open = true; open;) {
        plimsoll::Select(OnRecv(subscribe, [&](auto who) { subscribers.push_back(*who); }),
                         OnRecv(news, [&](std::optional<std::string> what) {
                           open = what.has_value();
                           for (auto& subscriber : subscribers) {
                             if (open)
                               subscriber.Send(*what);
                             else
                               subscriber.Close();
                           }
                         }));
      }
    });

    std::vector<std::vector<std::string>> read(2);
    for (auto& pages : read) {
      Channel<std::string> mine(1);
      subscribe.Send(mine);
      readers.Go([mine, &pages] {
        for (std::string& line : mine) pages.push_back(line);
      });
    }
    news.Send("it floats");
    news.Send("the line is dry");
    news.Close();
    readers.Wait();
    broker.Wait();
    for (size_t i = 0; i < read.size(); ++i) {
      for (const std::string& line : read[i]) std::printf("reader %zu: %s\n", i + 1, line.c_str());
    }
    return 0;
  });
}
