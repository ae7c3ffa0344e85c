// A JsonWriter builds one JSON text; whoever calls it keeps keys and values in turn.
//
//   JsonWriter json;
//   json.BeginObject();
//   json.Key("procs").Number(2);
//   json.EndObject();
//   std::move(json).Take()         {"procs": 2}
#ifndef PLIMSOLL_CONTAINER_JSON_WRITER_H_
#define PLIMSOLL_CONTAINER_JSON_WRITER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace plimsoll::container {

class JsonWriter {
 public:
  JsonWriter& BeginObject();
  JsonWriter& EndObject();
  JsonWriter& BeginArray();
  JsonWriter& EndArray();
  JsonWriter& Key(std::string_view key);
  // Any bytes make a valid text: json_string.h.
  JsonWriter& String(std::string_view text);
  JsonWriter& Number(int64_t number);
  JsonWriter& Unsigned(uint64_t number);
  JsonWriter& Bool(bool value);
  JsonWriter& Null();

  std::string Take() && { return std::move(out_); }

 private:
  void Separate();

  std::string out_;
  bool first_ = true;  // nothing was written in the innermost array or object
  bool after_key_ = false;
  int depth_ = 0;
};

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_JSON_WRITER_H_
