// EventLoop: an event loop with a thread of its own.
//
// A step that was added with at_turn_end() runs at the end of a turn, so that it does its work once for all that came
// in together: after everything that was ready or became ready meanwhile, in the order in which the steps were added,
// and again as long as one of them did something.
//
// `post` and `run_and_wait` may be called from any thread, at_turn_end() before start(), all else only from the loop's
// own thread. After stop() the loop runs nothing any more.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace boost::asio {
class io_context;
}  // namespace boost::asio

namespace servoir {

class EventLoop {
 public:
  // `number` tells the loops of a server apart; it counts from 0.
  explicit EventLoop(std::uint32_t number = 0);
  ~EventLoop();  // as stop()
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Returns whether it did something.
  using TurnEndStep = std::function<bool()>;
  void at_turn_end(TurnEndStep step) { steps_.push_back(std::move(step)); }

  void start();
  // Ends the loop and joins the thread. Must not be called from the loop's thread.
  void stop();

  // Runs `work` in the loop, soon; not at all after stop().
  void post(std::function<void()> work);
  // Runs `work` in the loop and returns when it is done. Runs it itself when called in the loop, before start(), and
  // once stop() has ended the loop.
  void run_and_wait(const std::function<void()>& work);
  // Whether this is the loop's thread.
  [[nodiscard]] bool here() const;
  [[nodiscard]] std::uint32_t number() const { return number_; }

  // Has the steps run at the end of this turn.
  void want_turn_end();

  // For FdWatch and Timer.
  [[nodiscard]] boost::asio::io_context& context();

 private:
  struct Loop;
  void end_turn();

  const std::uint32_t number_;
  std::vector<TurnEndStep> steps_;
  std::unique_ptr<Loop> loop_;
  bool turn_end_scheduled_ = false;
};

}  // namespace servoir
