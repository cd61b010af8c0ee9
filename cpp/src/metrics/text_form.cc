#include "metrics/text_form.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <string>

namespace servoir::metrics {
namespace {

// Up to here whole numbers have all their digits in a double.
constexpr double kMostExact = 9007199254740992.0;

void append_number(double value, std::string* out) {
  if (std::isnan(value) || std::isinf(value)) {
    *out += std::isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
    return;
  }
  char digits[32];
  std::to_chars_result end{};
  if (value == std::floor(value) && std::abs(value) <= kMostExact) {
    end = std::to_chars(digits, digits + sizeof(digits), static_cast<std::int64_t>(value));
  } else {
    end = std::to_chars(digits, digits + sizeof(digits), value, std::chars_format::general);
  }
  out->append(digits, end.ptr);
}

std::string_view type_of(Kind kind) {
  return kind == Kind::kCounter ? "counter" : kind == Kind::kGauge ? "gauge" : "histogram";
}

class Writer {
 public:
  Writer(TextForm form, Payload* out) : form_(form), out_(out) {}

  void family(const Family& family) {
    const std::string& name = family.name;
    // Prometheus' older form knows a counter only by the name of its sample.
    const std::string shown = form_ == TextForm::kPrometheus && family.kind == Kind::kCounter ? name + "_total" : name;
    line_ = "# HELP " + shown + " ";
    for (const char c : family.help) {
      if (c == '\\' || (c == '"' && form_ == TextForm::kOpenMetrics)) line_ += '\\';
      line_ += c;
    }
    (line_ += "\n# TYPE " + shown + " ") += type_of(family.kind);
    line_ += '\n';
    if (form_ == TextForm::kOpenMetrics && family.unit != Unit::kNone) {
      (line_ += "# UNIT " + name + " ") += text(family.unit);
      line_ += '\n';
    }
    end_line();
    for (const Sample& one : family.samples) {
      if (family.kind == Kind::kHistogram) {
        histogram(family, one);
      } else {
        sample(name, family.kind == Kind::kCounter ? "_total" : "", one.labels->text, "", one.value);
      }
    }
  }

  void end() {
    if (form_ == TextForm::kOpenMetrics) out_->append("# EOF\n");
  }

 private:
  void sample(std::string_view name, std::string_view suffix, std::string_view labels, std::string_view bound,
              double value) {
    line_ = name;
    line_ += suffix;
    if (!labels.empty() || !bound.empty()) {
      line_ += '{';
      line_ += labels;
      if (!labels.empty() && !bound.empty()) line_ += ',';
      line_ += bound;
      line_ += '}';
    }
    line_ += ' ';
    append_number(value, &line_);
    line_ += '\n';
    end_line();
  }

  void histogram(const Family& family, const Sample& one) {
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < one.buckets.size(); ++i) {
      below += one.buckets[i];
      std::string bound = "le=\"";
      if (i == family.bounds.size()) {
        bound += "+Inf";
      } else {
        append_number(family.bounds[i], &bound);
        // OpenMetrics has bounds as floating point numbers, so that they compare as texts.
        if (form_ == TextForm::kOpenMetrics && family.bounds[i] == std::floor(family.bounds[i])) bound += ".0";
      }
      bound += '"';
      sample(family.name, "_bucket", one.labels->text, bound, static_cast<double>(below));
    }
    sample(family.name, "_sum", one.labels->text, "", one.value);
    sample(family.name, "_count", one.labels->text, "", static_cast<double>(below));
  }

  void end_line() { out_->append(line_); }

  const TextForm form_;
  Payload* const out_;
  std::string line_;  // kept for its memory
};

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// Takes the part up to the separator off the front, without spaces around it.
std::string_view next_part(std::string_view* text, char separator) {
  const std::size_t end = text->find(separator);
  const std::string_view part = text->substr(0, end);
  text->remove_prefix(end == std::string_view::npos ? text->size() : end + 1);
  return trimmed(part);
}

}  // namespace

TextForm text_form_for(std::string_view accept) {
  double open = 0;
  double plain = 0;
  while (!accept.empty()) {
    std::string_view range = next_part(&accept, ',');
    const std::string type = lower(next_part(&range, ';'));
    double weight = 1;
    bool ours = true;
    while (!range.empty()) {
      std::string_view parameter = next_part(&range, ';');
      const std::string name = lower(next_part(&parameter, '='));
      if (name == "q") {
        std::from_chars(parameter.data(), parameter.data() + parameter.size(), weight);
      } else if (name == "version" && type == "application/openmetrics-text") {
        ours = parameter == "1.0.0";
      }
    }
    if (type == "application/openmetrics-text" && ours) open = std::max(open, weight);
    if (type == "text/plain" || type == "text/*") plain = std::max(plain, weight);
  }
  return open > 0 && open >= plain ? TextForm::kOpenMetrics : TextForm::kPrometheus;
}

std::string_view content_type(TextForm form) {
  return form == TextForm::kOpenMetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                        : "text/plain; version=0.0.4; charset=utf-8";
}

void write_metrics(const Snapshot& snapshot, TextForm form, Payload* out) {
  Writer writer(form, out);
  for (const Family& family : snapshot.families) writer.family(family);
  writer.end();
}

void write_metrics(const Registry& registry, TextForm form, Payload* out) {
  write_metrics(registry.snapshot(), form, out);
}

}  // namespace servoir::metrics
