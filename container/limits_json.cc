#include "plimsoll/container/limits_json.h"

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "plimsoll/container/cgroup/text.h"
#include "plimsoll/container/json_writer.h"
#include "plimsoll/container/limits.h"

namespace plimsoll::container {
namespace {

void OptionalString(JsonWriter& json, std::string_view key,
                    const std::optional<std::string>& text) {
  json.Key(key);
  if (text.has_value()) {
    json.String(*text);
  } else {
    json.Null();
  }
}

void OptionalNumber(JsonWriter& json, std::string_view key, std::optional<uint64_t> number) {
  json.Key(key);
  if (number.has_value()) {
    json.Unsigned(*number);
  } else {
    json.Null();
  }
}

// KEY, KEY_at and KEY_file.
template <typename T>
void Place(JsonWriter& json, std::string_view key, const std::optional<Found<T>>& found) {
  OptionalString(json, Concat(key, "_at"),
                 found.has_value() ? std::optional(found->at) : std::nullopt);
  OptionalString(json, Concat(key, "_file"),
                 found.has_value() ? std::optional(found->file) : std::nullopt);
}

void FoundNumber(JsonWriter& json, std::string_view key,
                 const std::optional<Found<uint64_t>>& found) {
  OptionalNumber(json, key, found.has_value() ? std::optional(found->value) : std::nullopt);
  Place(json, key, found);
}

void Own(JsonWriter& json, std::string_view key, const std::optional<Found<uint64_t>>& found) {
  OptionalNumber(json, key, found.has_value() ? std::optional(found->value) : std::nullopt);
}

void Trees(JsonWriter& json, const Limits& limits) {
  json.Key("trees").BeginArray();
  for (const Tree& tree : limits.trees) {
    json.BeginObject();
    json.Key("version").String(ToString(tree.version));
    json.Key("controllers").String(tree.controllers);
    json.Key("path").String(tree.path);
    json.Key("mount_point").String(tree.mount_point);
    json.Key("mount_root").String(tree.mount_root);
    json.Key("own_directory_known").Bool(tree.own_directory_known);
    json.Key("levels").BeginArray();
    for (const Level& level : tree.levels) {
      json.BeginObject();
      json.Key("dir").String(level.dir);
      json.Key("files").BeginObject();
      for (const Reading& reading : level.readings) json.Key(reading.name).String(reading.text);
      json.EndObject();
      json.Key("tightest").BeginArray();
      for (const Reading& reading : level.readings) {
        if (reading.tightest) json.String(reading.name);
      }
      json.EndArray();
      json.EndObject();
    }
    json.EndArray();
    json.EndObject();
  }
  json.EndArray();
}

}  // namespace

void WriteJson(JsonWriter& json, const Limits& limits) {
  json.Key("procs").Number(limits.procs.value);
  json.Key("procs_source").String(ToString(limits.procs.source));
  json.Key("procs_reason").String(limits.procs.reason);
  json.Key("procs_ceil_min2").Number(limits.procs_ceil_min2);
  json.Key("procs_floor_min1").Number(limits.procs_floor_min1);
  json.Key("affinity").Number(limits.affinity);

  json.Key("cpu_version").String(ToString(limits.cpu.version));
  OptionalString(json, "cpu_dir", limits.cpu.dir);
  json.Key("quota");
  if (limits.cpu.quota.has_value()) {
    json.BeginArray();
    json.Number(limits.cpu.quota->value.num).Number(limits.cpu.quota->value.den);
    json.EndArray();
  } else {
    json.Null();
  }
  Place(json, "quota", limits.cpu.quota);
  json.Key("period_us");
  if (limits.cpu.period_us.has_value()) {
    json.Number(limits.cpu.period_us->value);
  } else {
    json.Null();
  }
  Own(json, "burst_us", limits.cpu.burst_us);
  Own(json, "cpu_weight", limits.cpu.weight);

  json.Key("memory_version").String(ToString(limits.memory.version));
  OptionalString(json, "memory_dir", limits.memory.dir);
  FoundNumber(json, "memory_max", limits.memory.max);
  FoundNumber(json, "memory_high", limits.memory.high);
  FoundNumber(json, "swap_max", limits.memory.swap_max);
  OptionalNumber(json, "heap_90pct", limits.heap_90pct);
  OptionalNumber(json, "mem_limit", limits.mem_limit.value);
  json.Key("mem_limit_source").String(ToString(limits.mem_limit.source));
  json.Key("mem_limit_reason").String(limits.mem_limit.reason);
  json.Key("mem_total").Unsigned(limits.mem_total);
  json.Key("page_size").Unsigned(limits.page_size);

  FoundNumber(json, "pids_max", limits.pids.max);
  OptionalString(
      json, "cpuset",
      limits.cpuset.cpus.has_value() ? std::optional(limits.cpuset.cpus->value) : std::nullopt);

  std::set<std::string_view> codes;
  for (const Diagnostic& diagnostic : limits.diagnostics) codes.insert(diagnostic.code);
  json.Key("diagnostics").BeginArray();
  for (const std::string_view code : codes) json.String(code);
  json.EndArray();
  json.Key("diagnostic_texts").BeginArray();
  for (const Diagnostic& diagnostic : limits.diagnostics) {
    json.String(Concat("[", diagnostic.code, "] ", diagnostic.text));
  }
  json.EndArray();
  json.Key("used_libcgroup").Bool(limits.used_libcgroup);
  Trees(json, limits);
}

std::string ToJson(const Limits& limits) {
  JsonWriter json;
  json.BeginObject();
  WriteJson(json, limits);
  json.EndObject();
  return std::move(json).Take();
}

}  // namespace plimsoll::container
