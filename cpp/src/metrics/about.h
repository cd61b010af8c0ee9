// The description of a figure where it is declared: its name, what it counts, in which unit, and its labels.
//
// All of it is checked by the compiler, so that a name that no scraper reads does not build. Pure values; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace servoir::metrics {

// A counter only grows; a gauge goes up and down; a histogram sorts what it records into buckets.
enum class Kind : std::uint8_t { kCounter, kGauge, kHistogram };

// Times are counted in whole nanoseconds and shown in seconds.
enum class Unit : std::uint8_t { kNone, kSeconds, kBytes };

// As it stands in texts, and at the end of a figure's name; empty for kNone.
[[nodiscard]] constexpr std::string_view text(Unit unit) {
  return unit == Unit::kSeconds ? "seconds" : unit == Unit::kBytes ? "bytes" : "";
}
// What is counted, as it is shown.
[[nodiscard]] constexpr double shown(double counted, Unit unit) {
  return unit == Unit::kSeconds ? counted / 1e9 : counted;
}

namespace about_internal {

[[nodiscard]] constexpr bool is_word(std::string_view name) {
  if (name.empty() || (name.front() >= '0' && name.front() <= '9')) return false;
  for (const char c : name) {
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) return false;
  }
  return true;
}

}  // namespace about_internal

// {"servoir_arena_used_bytes", "Bytes in living blocks of the arena.", Unit::kBytes}
struct About {
  consteval About(const char* the_name, const char* the_help, Unit the_unit = Unit::kNone)
      : name(the_name), help(the_help), unit(the_unit) {
    if (!about_internal::is_word(name)) throw "a figure's name is made of a-z, 0-9 and _, and begins with no digit";
    if (!text(unit).empty() && !(name.ends_with(text(unit)) && name.size() > text(unit).size() &&
                                 name[name.size() - text(unit).size() - 1] == '_')) {
      throw "a figure's name ends with its unit: _seconds or _bytes";
    }
    for (const std::string_view suffix : {"_total", "_created", "_bucket", "_count", "_sum"}) {
      if (name.ends_with(suffix))
        throw "the text form adds _total, _bucket, _count and _sum to a figure's name by itself";
    }
    if (help.empty() || help.back() != '.' || help.find('\n') != std::string_view::npos) {
      throw "a figure's help is sentences in one line";
    }
  }

  std::string_view name;
  std::string_view help;
  Unit unit;
};

struct LabelName {
  consteval LabelName(const char* the_name) : text(the_name) {  // NOLINT(google-explicit-constructor)
    if (!about_internal::is_word(text)) throw "a label's name is made of a-z, 0-9 and _, and begins with no digit";
    if (text.starts_with("__") || text == "le") throw "labels named __… and le belong to Prometheus";
  }
  std::string_view text;
};

// The value is any UTF-8. An empty one is, to a scraper, as if the label were not there.
struct Label {
  LabelName name;
  std::string value;
};

using Labels = std::vector<Label>;

}  // namespace servoir::metrics
