// The text forms of a snapshot, for scrapers: Prometheus' text 0.0.4 and OpenMetrics 1.0. Pure functions; any thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "memory/payload.h"
#include "metrics/registry.h"
#include "metrics/snapshot.h"

namespace servoir::metrics {

enum class TextForm : std::uint8_t { kPrometheus, kOpenMetrics };

// The form that a client asks for with this Accept header; Prometheus' where it has none, or asks for something else.
[[nodiscard]] TextForm text_form_for(std::string_view accept);
[[nodiscard]] std::string_view content_type(TextForm form);

void write_metrics(const Snapshot& snapshot, TextForm form, Payload* out);
// What the registry shows now.
void write_metrics(const Registry& registry, TextForm form, Payload* out);

}  // namespace servoir::metrics
