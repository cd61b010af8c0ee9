// Routes: the table of a server's HTTP routes. Filled before the first connection; any thread may read it then.
//
// A pattern is a path whose segments may be placeholders: "/v2/models/{model}/infer". A placeholder stands for exactly
// one segment, which is not empty. Where several patterns fit a path, the first that was added is taken. A path that
// fits no pattern belongs to the fallback, a handler that reads paths by itself.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "http/exchange.h"

namespace servoir::http {

class Routes {
 public:
  Routes();

  // `errors` writes what goes wrong before the handler is asked; it must outlive the table. A handler of GET gets HEAD
  // as well.
  void add(std::string method, std::string pattern, std::unique_ptr<HttpHandler> handler, const ErrorWriter* errors);
  // `usage`: what its paths look like, for texts.
  void set_fallback(std::string method, std::string usage, std::unique_ptr<HttpHandler> handler,
                    const ErrorWriter* errors);

  struct Match {
    const HttpHandler* handler = nullptr;  // null: there is none for this method, or none at all
    const ErrorWriter* errors = nullptr;   // of the family that the path belongs to; never null after find()
    std::string allow;                     // without a handler: the methods that there are, "GET, POST"
    Status refusal;                        // without a handler: what to tell the client
    std::array<std::string_view, Exchange::kMostParameters> parameters;
  };
  // `path` is without a query.
  [[nodiscard]] Match find(std::string_view method, std::string_view path) const;
  // For what is no HTTP, so that its path is not known: the fallback's, or plain text where there is none.
  [[nodiscard]] const ErrorWriter* default_errors() const { return fallback_.errors; }

 private:
  struct Route {
    std::string method;
    std::string pattern;
    std::unique_ptr<HttpHandler> handler;
    const ErrorWriter* errors = nullptr;
  };
  static bool fits(std::string_view pattern, std::string_view path,
                   std::array<std::string_view, Exchange::kMostParameters>* parameters);
  static void refuse(std::string_view method, const std::vector<const Route*>& others, Match* match);

  std::vector<Route> routes_;
  Route fallback_;
};

}  // namespace servoir::http
