#include "http/routes.h"

#include <utility>

namespace servoir::http {
namespace {

// A route's method takes a request's: HEAD is a GET whose answer has no body.
bool takes(std::string_view route, std::string_view method) {
  return route == method || (route == "GET" && method == "HEAD");
}

// For a table without a fallback: a path that belongs to no family has no family's form of errors.
class PlainErrors final : public ErrorWriter {
 public:
  int write(const Status& error, Payload* body) const override {
    body->append(error.message());
    return error.code() == Code::kNotFound ? 404 : 400;
  }
  std::string_view content_type() const override { return "text/plain; charset=utf-8"; }
};

}  // namespace

Routes::Routes() {
  static const PlainErrors plain;
  fallback_.errors = &plain;
}

void Routes::add(std::string method, std::string pattern, std::unique_ptr<HttpHandler> handler,
                 const ErrorWriter* errors) {
  routes_.push_back({std::move(method), std::move(pattern), std::move(handler), errors});
}

void Routes::set_fallback(std::string method, std::string usage, std::unique_ptr<HttpHandler> handler,
                          const ErrorWriter* errors) {
  fallback_ = {std::move(method), std::move(usage), std::move(handler), errors};
}

bool Routes::fits(std::string_view pattern, std::string_view path,
                  std::array<std::string_view, Exchange::kMostParameters>* parameters) {
  std::size_t count = 0;
  while (true) {
    const std::string_view wanted = pattern.substr(0, pattern.find('/', 1));
    const std::string_view segment = path.substr(0, path.find('/', 1));
    if (wanted.size() > 2 && wanted[1] == '{') {
      if (segment.size() < 2 || segment[0] != '/' || count == parameters->size()) return false;
      (*parameters)[count++] = segment.substr(1);
    } else if (wanted != segment) {
      return false;
    }
    pattern.remove_prefix(wanted.size());
    path.remove_prefix(segment.size());
    if (pattern.empty() || path.empty()) return pattern.empty() && path.empty();
  }
}

Routes::Match Routes::find(std::string_view method, std::string_view path) const {
  Match match;
  match.errors = fallback_.errors;
  std::vector<const Route*> others;
  for (const Route& route : routes_) {
    if (!fits(route.pattern, path, &match.parameters)) continue;
    match.errors = route.errors;
    if (takes(route.method, method)) {
      match.handler = route.handler.get();
      return match;
    }
    others.push_back(&route);
  }
  if (others.empty() && fallback_.handler != nullptr) {
    if (takes(fallback_.method, method)) {
      match.handler = fallback_.handler.get();
      return match;
    }
    others.push_back(&fallback_);
  }
  refuse(method, others, &match);
  return match;
}

void Routes::refuse(std::string_view method, const std::vector<const Route*>& others, Match* match) {
  std::string served;
  std::string usages;
  for (const Route* route : others) {
    match->allow += (match->allow.empty() ? "" : ", ") + route->method + (route->method == "GET" ? ", HEAD" : "");
    served += (served.empty() ? "" : " and ") + route->method;
    usages += (usages.empty() ? "" : ", ") + route->method + " " + route->pattern;
  }
  match->refusal = others.empty()
                       ? Status::NotFound("this port serves nothing at this path")
                       : Status::InvalidArgument("the method is " + std::string(method) + ", but only " + served +
                                                 (others.size() == 1 ? " is" : " are") + " served: " + usages);
}

}  // namespace servoir::http
