// AppendJsonString writes any bytes as one JSON string (RFC 8259), quotes included.
//
//   AppendJsonString("say \"hi\"\n", &out);      // "say \"hi\"\n"
//
// Input:  bytes that are no UTF-8 become U+FFFD, one for each byte, so that the output is valid
//         JSON whatever a file, an errno or a user put into the text.
// Output: nothing in it commands a terminal or turns the text around it: control characters, C1's
//         too, line separators and bidirectional marks are written as \u.
#ifndef PLIMSOLL_CONTAINER_JSON_STRING_H_
#define PLIMSOLL_CONTAINER_JSON_STRING_H_

#include <string>
#include <string_view>

namespace plimsoll::container {

void AppendJsonString(std::string_view text, std::string* out);

// `text` fit for one line of a log: what commands a terminal, and bytes that are no UTF-8, as \n,
// \r, \t or \xNN, byte by byte.
std::string OneLine(std::string_view text);

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_JSON_STRING_H_
