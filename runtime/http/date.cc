#include "plimsoll/runtime/http/date.h"

#include <time.h>

#include <cstring>

namespace plimsoll::http {
namespace {

void TwoDigits(int value, char* out) {
  out[0] = static_cast<char>('0' + value / 10);
  out[1] = static_cast<char>('0' + value % 10);
}

}  // namespace

void FormatDate(int64_t unix_seconds, char out[kDateBytes]) {
  const int64_t days = unix_seconds / 86400;
  const int of_day = static_cast<int>(unix_seconds % 86400);
  // Days since 1 March of year 0 split into 400-year eras: "chrono-Compatible Low-Level Date
  // Algorithms", Howard Hinnant.
  const int64_t shifted = days + 719468;
  const int64_t era = shifted / 146097;
  const int64_t day_of_era = shifted % 146097;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t month_from_march = (5 * day_of_year + 2) / 153;
  const int day = static_cast<int>(day_of_year - (153 * month_from_march + 2) / 5 + 1);
  const int month = static_cast<int>(month_from_march < 10 ? month_from_march + 2
                                                           : month_from_march - 10);  // 0: January
  const int year = static_cast<int>(year_of_era + era * 400 + (month <= 1 ? 1 : 0));

  std::memcpy(out, "Thu, 01 Jan 1970 00:00:00 GMT", kDateBytes);
  std::memcpy(out, &"ThuFriSatSunMonTueWed"[(days % 7) * 3], 3);  // day 0 was a Thursday
  TwoDigits(day, out + 5);
  std::memcpy(out + 8, &"JanFebMarAprMayJunJulAugSepOctNovDec"[month * 3], 3);
  TwoDigits(year / 100, out + 12);
  TwoDigits(year % 100, out + 14);
  TwoDigits(of_day / 3600, out + 17);
  TwoDigits(of_day / 60 % 60, out + 20);
  TwoDigits(of_day % 60, out + 23);
}

std::string_view DateCache::Now() {
  timespec now;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);  // a few ns; wrong by one tick at most
  if (now.tv_sec != second_) {
    second_ = now.tv_sec;
    FormatDate(second_, text_);
  }
  return {text_, kDateBytes};
}

}  // namespace plimsoll::http
