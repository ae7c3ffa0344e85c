#include "plimsoll/runtime/http/date.h"

#include <time.h>

#include <string>

#include "gtest/gtest.h"

namespace plimsoll::http {
namespace {

std::string Formatted(int64_t seconds) {
  char out[kDateBytes];
  FormatDate(seconds, out);
  return std::string(out, kDateBytes);
}

TEST(FormatDateTest, WritesTheExampleOfTheStandard) {
  EXPECT_EQ(Formatted(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");
}

TEST(FormatDateTest, AgreesWithTheLibraryOnEveryThirteenthHourOfFourCenturies) {
  for (int64_t t = 0; t < 400LL * 366 * 86400; t += 13 * 3600 + 61) {
    const time_t time = t;
    tm fields;
    gmtime_r(&time, &fields);
    char expected[40];
    strftime(expected, sizeof(expected), "%a, %d %b %Y %H:%M:%S GMT", &fields);
    ASSERT_EQ(Formatted(t), expected) << t;
  }
}

TEST(DateCacheTest, TellsTheTimeOfNowToTheSecond) {
  DateCache cache;
  const time_t before = time(nullptr) - 1;  // the coarse clock may be a tick behind
  const std::string now(cache.Now());
  const time_t after = time(nullptr);
  bool found = false;
  for (time_t t = before; t <= after; ++t) found = found || Formatted(t) == now;
  EXPECT_TRUE(found) << now;
}

}  // namespace
}  // namespace plimsoll::http
