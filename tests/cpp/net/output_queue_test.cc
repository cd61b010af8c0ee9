#include "net/output_queue.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>
#include <string>

#include "memory/arena.h"
#include "memory/tensor_ref.h"

namespace servoir {
namespace {

class OutputQueueTest : public testing::Test {
 protected:
  TensorRef tensor(std::size_t bytes, char fill) {
    TensorRef result;
    result.block = arena_->allocate(bytes).value();
    result.offset = result.block->offset();
    result.bytes = bytes;
    std::memset(result.data(), fill, bytes);
    return result;
  }
  static std::string_view view(const TensorRef& tensor) {
    return {reinterpret_cast<const char*>(tensor.data()), tensor.bytes};
  }
  // Takes everything out, `step` bytes at a time.
  std::string take_all(OutputQueue* queue, std::size_t step) {
    std::string all;
    while (!queue->empty()) {
      std::array<iovec, 4> pieces{};
      const std::size_t count = queue->gather(pieces.data(), pieces.size());
      EXPECT_GT(count, 0U);
      std::size_t left = step;
      for (std::size_t i = 0; i < count && left > 0; ++i) {
        const std::size_t n = std::min(left, pieces[i].iov_len);
        all.append(static_cast<const char*>(pieces[i].iov_base), n);
        left -= n;
      }
      queue->consume(step - left);
    }
    return all;
  }

  std::unique_ptr<Arena> arena_ = Arena::create(64U << 20U).value();
  ChunkPool pool_;
};

TEST_F(OutputQueueTest, PutsSmallPiecesIntoOneRun) {
  OutputQueue queue(&pool_);
  queue.append("ab");
  queue.append("cd");
  std::array<iovec, 4> pieces{};
  ASSERT_EQ(queue.gather(pieces.data(), pieces.size()), 1U);
  EXPECT_EQ(std::string_view(static_cast<const char*>(pieces[0].iov_base), pieces[0].iov_len), "abcd");
  queue.consume(3);
  queue.append("e");
  EXPECT_EQ(take_all(&queue, 100), "de");
}

TEST_F(OutputQueueTest, CutsWhatIsLargerThanAChunk) {
  OutputQueue queue(&pool_);
  std::string text;
  for (std::size_t i = 0; i < 3 * kChunkBytes + 17; ++i) text += static_cast<char>('a' + i % 26);
  queue.append(text);
  EXPECT_EQ(queue.size(), text.size());
  EXPECT_EQ(take_all(&queue, 1000), text);
}

TEST_F(OutputQueueTest, RefersToTheArenaAndLetsGoOfIt) {
  OutputQueue queue(&pool_);
  {
    const TensorRef t = tensor(20000, 'x');
    queue.append("<");
    queue.append(view(t), t.block);
    queue.append(">");
    std::array<iovec, 4> pieces{};
    ASSERT_EQ(queue.gather(pieces.data(), pieces.size()), 3U);
    EXPECT_EQ(pieces[1].iov_base, view(t).data());
  }
  EXPECT_EQ(arena_->usage().blocks, 1U);
  EXPECT_EQ(take_all(&queue, 1 << 20), "<" + std::string(20000, 'x') + ">");
  EXPECT_EQ(arena_->usage().blocks, 0U);
}

TEST_F(OutputQueueTest, ClearLetsGoOfEverything) {
  OutputQueue queue(&pool_);
  {
    const TensorRef t = tensor(20000, 'x');
    queue.append(view(t), t.block);
    Payload payload;
    payload.append(t);
    queue.append(std::move(payload));
  }
  queue.clear();
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(arena_->usage().blocks, 0U);
}

TEST_F(OutputQueueTest, SendsAPayloadOfManyPartsInOrder) {
  OutputQueue queue(&pool_);
  Payload payload;
  payload.append("one ");
  const TensorRef t = tensor(Payload::kReferenceBytes, 't');
  payload.append(t);
  payload.append(" two");
  queue.append("head ");
  queue.append(std::move(payload));
  queue.append(" foot");
  EXPECT_EQ(take_all(&queue, 7), "head one " + std::string(Payload::kReferenceBytes, 't') + " two foot");
}

TEST_F(OutputQueueTest, KeepsTheOrderInAnyMixture) {
  std::mt19937 random(7);
  OutputQueue queue(&pool_);
  std::string expected;
  std::string got;
  for (int i = 0; i < 3000; ++i) {
    const auto fill = static_cast<char>('a' + i % 26);
    const std::size_t bytes = random() % 3 == 0 ? random() % 30000 : random() % 50;
    if (random() % 4 == 0 && bytes > 0) {
      const TensorRef t = tensor(bytes, fill);
      queue.append(view(t), t.block);
    } else {
      queue.append(std::string(bytes, fill));
    }
    expected.append(bytes, fill);
    while (random() % 2 == 0 && !queue.empty()) {
      std::array<iovec, 1> piece{};
      ASSERT_EQ(queue.gather(piece.data(), 1), 1U);
      const std::size_t n = 1 + random() % piece[0].iov_len;
      got.append(static_cast<const char*>(piece[0].iov_base), n);
      queue.consume(n);
    }
  }
  got += take_all(&queue, 5000);
  EXPECT_EQ(got, expected);
}

}  // namespace
}  // namespace servoir
