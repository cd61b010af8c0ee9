#include "metrics/text_form.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <string>
#include <utility>

#include "metrics/counter.h"
#include "metrics/histogram.h"

namespace servoir::metrics {
namespace {

std::string text_of(const Registry& registry, TextForm form) {
  Payload payload;
  write_metrics(registry, form, &payload);
  std::string text(payload.size(), '\0');
  EXPECT_EQ(payload.read(text), text.size());
  return text;
}

struct Figures {
  Figures() {
    batches.add(3);
    run.add(1'250'000'000);
    used.set(4096);
    for (const std::uint64_t rows : {1U, 2U, 3U, 9U}) rows_of_batch.record(rows);
  }
  static constexpr std::array<std::uint64_t, 2> kBounds = {2, 4};
  Registry registry;
  Scope scope{&registry, {{"servable", "a \"b\""}}};
  Counter batches{scope, {"test_batches", "Batches \\ \"all\" of them."}};
  Counter run{scope, {"test_run_seconds", "Time in workers.", Unit::kSeconds}};
  Gauge used{Scope(&registry), {"test_used_bytes", "Bytes in use.", Unit::kBytes}};
  Histogram rows_of_batch{scope, {"test_rows", "Instances of a batch."}, kBounds};
};

TEST(TextForm, PrometheusCountsByTheNamesOfSamples) {
  const Figures figures;
  EXPECT_EQ(text_of(figures.registry, TextForm::kPrometheus),
            "# HELP test_batches_total Batches \\\\ \"all\" of them.\n"
            "# TYPE test_batches_total counter\n"
            "test_batches_total{servable=\"a \\\"b\\\"\"} 3\n"
            "# HELP test_rows Instances of a batch.\n"
            "# TYPE test_rows histogram\n"
            "test_rows_bucket{servable=\"a \\\"b\\\"\",le=\"2\"} 2\n"
            "test_rows_bucket{servable=\"a \\\"b\\\"\",le=\"4\"} 3\n"
            "test_rows_bucket{servable=\"a \\\"b\\\"\",le=\"+Inf\"} 4\n"
            "test_rows_sum{servable=\"a \\\"b\\\"\"} 15\n"
            "test_rows_count{servable=\"a \\\"b\\\"\"} 4\n"
            "# HELP test_run_seconds_total Time in workers.\n"
            "# TYPE test_run_seconds_total counter\n"
            "test_run_seconds_total{servable=\"a \\\"b\\\"\"} 1.25\n"
            "# HELP test_used_bytes Bytes in use.\n"
            "# TYPE test_used_bytes gauge\n"
            "test_used_bytes 4096\n");
}

TEST(TextForm, OpenMetricsTellsUnitsAndItsEnd) {
  const Figures figures;
  EXPECT_EQ(text_of(figures.registry, TextForm::kOpenMetrics),
            "# HELP test_batches Batches \\\\ \\\"all\\\" of them.\n"
            "# TYPE test_batches counter\n"
            "test_batches_total{servable=\"a \\\"b\\\"\"} 3\n"
            "# HELP test_rows Instances of a batch.\n"
            "# TYPE test_rows histogram\n"
            "test_rows_bucket{servable=\"a \\\"b\\\"\",le=\"2.0\"} 2\n"
            "test_rows_bucket{servable=\"a \\\"b\\\"\",le=\"4.0\"} 3\n"
            "test_rows_bucket{servable=\"a \\\"b\\\"\",le=\"+Inf\"} 4\n"
            "test_rows_sum{servable=\"a \\\"b\\\"\"} 15\n"
            "test_rows_count{servable=\"a \\\"b\\\"\"} 4\n"
            "# HELP test_run_seconds Time in workers.\n"
            "# TYPE test_run_seconds counter\n"
            "# UNIT test_run_seconds seconds\n"
            "test_run_seconds_total{servable=\"a \\\"b\\\"\"} 1.25\n"
            "# HELP test_used_bytes Bytes in use.\n"
            "# TYPE test_used_bytes gauge\n"
            "# UNIT test_used_bytes bytes\n"
            "test_used_bytes 4096\n"
            "# EOF\n");
}

TEST(TextForm, OfNothing) {
  const Registry registry;
  EXPECT_EQ(text_of(registry, TextForm::kPrometheus), "");
  EXPECT_EQ(text_of(registry, TextForm::kOpenMetrics), "# EOF\n");
}

TEST(TextForm, NumbersKeepAllTheirDigits) {
  const auto shown = [](double value) {
    Registry registry;
    const GaugeReading reading(Scope(&registry), {"test_value", "A number."}, [value] { return value; });
    const std::string text = text_of(registry, TextForm::kPrometheus);
    const std::string::size_type at = text.find("\ntest_value ");
    return text.substr(at + 12, text.size() - at - 13);
  };
  EXPECT_EQ(shown(0), "0");
  EXPECT_EQ(shown(-7), "-7");
  EXPECT_EQ(shown(123456789012), "123456789012");
  EXPECT_EQ(shown(9007199254740992), "9007199254740992");
  EXPECT_EQ(shown(1e300), "1e+300");
  EXPECT_EQ(shown(0.1), "0.1");
  EXPECT_EQ(shown(std::numeric_limits<double>::infinity()), "+Inf");
  EXPECT_EQ(shown(-std::numeric_limits<double>::infinity()), "-Inf");
  EXPECT_EQ(shown(std::numeric_limits<double>::quiet_NaN()), "NaN");
}

TEST(TextForm, BoundsOfTimesAreShortTexts) {
  Registry registry;
  const Histogram wait(Scope(&registry), {"test_wait_seconds", "Time in the queue.", Unit::kSeconds}, kDurations);
  const std::string text = text_of(registry, TextForm::kPrometheus);
  for (const char* bound : {"0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1",
                            "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"}) {
    EXPECT_NE(text.find("test_wait_seconds_bucket{le=\"" + std::string(bound) + "\"} 0\n"), std::string::npos) << bound;
  }
}

TEST(TextForm, IsTheOneThatTheClientPrefers) {
  const std::pair<const char*, TextForm> cases[] = {
      {"", TextForm::kPrometheus},
      {"*/*", TextForm::kPrometheus},
      {"text/html,application/xhtml+xml,*/*;q=0.8", TextForm::kPrometheus},
      {"text/plain", TextForm::kPrometheus},
      {"text/plain;version=0.0.4;q=0.5,*/*;q=0.1", TextForm::kPrometheus},
      {"application/openmetrics-text", TextForm::kOpenMetrics},
      {"application/openmetrics-text; version=1.0.0; charset=utf-8", TextForm::kOpenMetrics},
      {"Application/OpenMetrics-Text;Version=1.0.0", TextForm::kOpenMetrics},
      {"application/openmetrics-text;version=0.0.1", TextForm::kPrometheus},
      {"application/openmetrics-text;q=0", TextForm::kPrometheus},
      {"application/openmetrics-text;q=0.2,text/plain;q=0.7", TextForm::kPrometheus},
      {"text/plain;q=0.2 , application/openmetrics-text;q=0.7", TextForm::kOpenMetrics},
      {"application/openmetrics-text,text/plain", TextForm::kOpenMetrics},
      // Prometheus 2 and 3.
      {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
       "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
       TextForm::kOpenMetrics},
      {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
       "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
       "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
       TextForm::kOpenMetrics},
      // Not what the grammar allows.
      {";;;,,,=,q=", TextForm::kPrometheus},
      {"application/openmetrics-text;q=one", TextForm::kOpenMetrics},
  };
  for (const auto& [accept, form] : cases) EXPECT_EQ(text_form_for(accept), form) << accept;
  EXPECT_EQ(content_type(TextForm::kPrometheus), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(content_type(TextForm::kOpenMetrics), "application/openmetrics-text; version=1.0.0; charset=utf-8");
}

}  // namespace
}  // namespace servoir::metrics
