#include "channel/message.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace servoir {
namespace {

OutputPiece piece(std::uint32_t rows, const Shape& shape, DataType dtype = DataType::kFloat32) {
  OutputPiece made;
  made.offset = 4096;
  made.row_bytes = *shape.byte_size(dtype);
  made.rows = rows;
  made.dtype = dtype;
  made.row_shape = shape;
  return made;
}

RowsResult result() {
  RowsResult made;
  made.id = 77;
  made.rows = 5;
  made.run_ns = 123456;
  OutputPiece failed;
  failed.rows = 2;
  OutputPiece text = piece(1, Shape{}, DataType::kString);
  text.row_bytes = 11;
  made.outputs = {{piece(2, Shape{3}), failed, piece(1, Shape{4})}, {piece(4, Shape{}, DataType::kInt8), text}};
  made.failures = {{2, Code::kInvalidArgument, "no such word"}, {3, Code::kInternal, ""}};
  return made;
}

CallRequest call() {
  CallRequest made;
  made.task = 9;
  made.call = 10;
  made.callee = 3;
  made.rows = 4;
  made.released = {3, 8};
  made.inputs = {{piece(4, Shape{2, 2})}, {piece(1, Shape{}), piece(3, Shape{})}};
  return made;
}

RunTask run() {
  RunTask made;
  made.head.callee = 1;
  made.head.task = 5;
  made.head.rows = 6;
  made.head.room_offset = 1 << 20;
  made.head.room_bytes = 4096;
  made.inputs = {{DataType::kFloat32, Shape{16}, {{64, 64, 6}}}, {DataType::kBytes, {}, {{0, 3, 1}, {3, 9, 5}}}};
  return made;
}

void expect_equal(const std::vector<std::vector<OutputPiece>>& a, const std::vector<std::vector<OutputPiece>>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].size(), b[i].size());
    for (std::size_t k = 0; k < a[i].size(); ++k) {
      EXPECT_EQ(a[i][k].offset, b[i][k].offset);
      EXPECT_EQ(a[i][k].row_bytes, b[i][k].row_bytes);
      EXPECT_EQ(a[i][k].rows, b[i][k].rows);
      EXPECT_EQ(a[i][k].dtype, b[i][k].dtype);
      EXPECT_EQ(a[i][k].row_shape, b[i][k].row_shape);
    }
  }
}

TEST(Message, DoneAndCalledComeBackAsWritten) {
  for (auto* write : {write_done, write_called}) {
    MessageWriter writer;
    write(result(), &writer);
    EXPECT_EQ(writer.bytes().size() % 8, 0U);
    RowsResult back;
    back.failures.resize(9, {0, Code::kOk, "left over"});
    const Status status = read_rows_result(writer.bytes(), &back);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(back.id, 77U);
    EXPECT_EQ(back.rows, 5U);
    EXPECT_EQ(back.run_ns, write == write_done ? 123456U : 0U);
    expect_equal(back.outputs, result().outputs);
    ASSERT_EQ(back.failures.size(), 2U);
    EXPECT_EQ(back.failures[0].row, 2U);
    EXPECT_EQ(back.failures[0].code, Code::kInvalidArgument);
    EXPECT_EQ(back.failures[0].text, "no such word");
    EXPECT_EQ(back.failures[1].text, "");
  }
}

TEST(Message, AllRowsFailed) {
  RowsResult all;
  all.rows = 2;
  all.failures = {{0, Code::kUnavailable, "gone"}, {1, Code::kUnavailable, "gone too"}};
  MessageWriter writer;
  write_done(all, &writer);
  RowsResult back = result();
  ASSERT_TRUE(read_rows_result(writer.bytes(), &back).ok());
  EXPECT_TRUE(back.outputs.empty());
  EXPECT_EQ(back.failures[1].text, "gone too");
}

TEST(Message, CallComesBackAsWritten) {
  MessageWriter writer;
  write_call(call(), &writer);
  CallRequest back;
  ASSERT_TRUE(read_call(writer.bytes(), &back).ok());
  EXPECT_EQ(back.task, 9U);
  EXPECT_EQ(back.call, 10U);
  EXPECT_EQ(back.callee, 3U);
  EXPECT_EQ(back.rows, 4U);
  EXPECT_EQ(back.released, (std::vector<std::uint64_t>{3, 8}));
  expect_equal(back.inputs, call().inputs);
}

TEST(Message, RunComesBackAsWritten) {
  MessageWriter writer;
  write_run(run(), &writer);
  RunTask back;
  const Status status = read_run(writer.bytes(), &back);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(back.head.kind, RecordKind::kRun);
  EXPECT_EQ(back.head.callee, 1U);
  EXPECT_EQ(back.head.task, 5U);
  EXPECT_EQ(back.head.rows, 6U);
  EXPECT_EQ(back.head.inputs, 2U);
  EXPECT_EQ(back.head.room_offset, 1U << 20U);
  EXPECT_EQ(back.head.room_bytes, 4096U);
  ASSERT_EQ(back.inputs.size(), 2U);
  EXPECT_EQ(back.inputs[0].dtype, DataType::kFloat32);
  EXPECT_EQ(back.inputs[0].row_shape, Shape{16});
  ASSERT_EQ(back.inputs[1].pieces.size(), 2U);
  EXPECT_EQ(back.inputs[1].pieces[1].offset, 3U);
  EXPECT_EQ(back.inputs[1].pieces[1].row_bytes, 9U);
  EXPECT_EQ(back.inputs[1].pieces[1].rows, 5U);
}

TEST(Message, KindIsSeenFirst) {
  MessageWriter writer;
  writer.put(NeedRoomHead{RecordKind::kNeedRoom, 0, 1, 2});
  EXPECT_EQ(*MessageReader(writer.bytes()).kind(), RecordKind::kNeedRoom);
  EXPECT_EQ(MessageReader(writer.bytes().first(7)).kind().status().code(), Code::kInternal);
  EXPECT_EQ(MessageReader({}).kind().status().code(), Code::kInternal);
}

TEST(Message, ReaderStopsAtTheEnd) {
  MessageWriter writer;
  writer.put(RoomHead{});
  MessageReader reader(writer.bytes());
  EXPECT_FALSE(reader.get_array<RowRun>(sizeof(RoomHead) / sizeof(RowRun) + 1).has_value());
  EXPECT_FALSE(reader.get_array<RowRun>(std::numeric_limits<std::uint64_t>::max()).has_value());
  EXPECT_FALSE(reader.get_text(sizeof(RoomHead) + 1).has_value());
  EXPECT_NE(reader.get<RoomHead>(), nullptr);
  EXPECT_EQ(reader.get<OutputHead>(), nullptr);
  EXPECT_TRUE(reader.get_array<RowRun>(0).has_value());
  EXPECT_TRUE(reader.get_text(0).has_value());
}

std::string refusal(const RowsResult& wrong) {
  MessageWriter writer;
  write_done(wrong, &writer);
  RowsResult back;
  const Status status = read_rows_result(writer.bytes(), &back);
  EXPECT_EQ(status.code(), Code::kInternal);
  return std::string(status.message());
}

TEST(MessageFaults, RowsThatDoNotAddUp) {
  RowsResult wrong = result();
  wrong.outputs[0][0].rows = 3;
  EXPECT_EQ(refusal(wrong), "a done record has 6 rows in column 0 instead of 5");
  wrong = result();
  wrong.outputs[1].pop_back();
  EXPECT_EQ(refusal(wrong), "a done record has 4 rows in column 1 instead of 5");
  wrong = result();
  wrong.outputs[1].clear();
  EXPECT_NE(refusal(wrong).find("0 rows in column 1"), std::string::npos);
  wrong = result();
  wrong.outputs[0][0].rows = 0;
  EXPECT_NE(refusal(wrong).find("a piece of 0 rows"), std::string::npos);
  // The sum must not wrap around to the right number.
  wrong = result();
  wrong.outputs = {std::vector<OutputPiece>(3, piece(0xffffffffU, Shape{}, DataType::kInt8))};
  wrong.outputs[0].push_back(piece(8, Shape{}, DataType::kInt8));
  EXPECT_NE(refusal(wrong).find("instead of 5"), std::string::npos);
}

TEST(MessageFaults, PiecesWhoseTypeShapeAndBytesDisagree) {
  auto with = [](auto change) {
    RowsResult wrong = result();
    change(&wrong.outputs[0][0]);
    return refusal(wrong);
  };
  EXPECT_NE(with([](OutputPiece* p) { p->row_bytes += 1; }).find("do not belong to it"), std::string::npos);
  EXPECT_NE(with([](OutputPiece* p) { p->dtype = DataType::kFloat64; }).find("do not belong"), std::string::npos);
  EXPECT_NE(with([](OutputPiece* p) { p->dtype = static_cast<DataType>(99); }).find("dtype (99)"), std::string::npos);
  EXPECT_NE(with([](OutputPiece* p) { p->dtype = DataType::kUnknown; }).find("dtype (0)"), std::string::npos);
  EXPECT_NE(with([](OutputPiece* p) { p->row_shape.rank = 9; }).find("do not belong"), std::string::npos);
  EXPECT_NE(with([](OutputPiece* p) { p->row_shape.rank = 0xffffffffU; }).find("do not belong"), std::string::npos);
  EXPECT_NE(with([](OutputPiece* p) { p->row_shape.dims[0] = -1; }).find("do not belong"), std::string::npos);
  EXPECT_NE(with([](OutputPiece* p) {
              p->dtype = DataType::kString;
              p->row_bytes = std::numeric_limits<std::uint64_t>::max();
            }).find("do not belong"),
            std::string::npos);
}

TEST(MessageFaults, FailuresThatCannotBe) {
  RowsResult wrong = result();
  wrong.failures[1].row = 5;
  EXPECT_EQ(refusal(wrong), "a done record has an error for row 5 of 5");
  wrong = result();
  wrong.failures[0].code = Code::kOk;
  EXPECT_EQ(refusal(wrong), "a done record has the code 0 as the error of row 2");
  wrong = result();
  wrong.failures[0].code = static_cast<Code>(17);
  EXPECT_EQ(refusal(wrong), "a done record has the code 17 as the error of row 2");
  wrong = result();
  wrong.failures.resize(6);
  EXPECT_EQ(refusal(wrong), "a done record has 6 errors for 5 rows");
}

template <typename T>
void poke(std::vector<std::byte>* record, std::size_t at, T value) {
  std::memcpy(record->data() + at, &value, sizeof(value));
}

TEST(MessageFaults, CountsBeyondTheRecord) {
  MessageWriter writer;
  write_done(result(), &writer);
  const std::vector<std::byte> good(writer.bytes().begin(), writer.bytes().end());
  RowsResult back;
  for (const std::uint32_t count : {3U, 1000U, 0x10000000U, 0xffffffffU}) {
    std::vector<std::byte> record = good;
    poke(&record, offsetof(DoneHead, outputs), count);
    EXPECT_EQ(read_rows_result(record, &back).code(), Code::kInternal) << count;
    record = good;
    poke(&record, offsetof(DoneHead, errors), count);
    EXPECT_EQ(read_rows_result(record, &back).code(), Code::kInternal) << count;
    record = good;
    poke(&record, sizeof(DoneHead), count + 1);  // pieces of the first output
    EXPECT_EQ(read_rows_result(record, &back).code(), Code::kInternal) << count;
  }
  // Where the errors are: after two heads and five pieces.
  const std::size_t errors = sizeof(DoneHead) + 2 * sizeof(OutputHead) + 5 * sizeof(OutputPiece);
  std::vector<std::byte> record = good;
  poke(&record, errors + offsetof(RowError, text_bytes), std::numeric_limits<std::uint64_t>::max());
  EXPECT_NE(read_rows_result(record, &back).message().find("ends inside the text"), std::string::npos);
}

TEST(MessageFaults, EveryCutIsRefusedOrOnlyPadding) {
  MessageWriter done;
  write_done(result(), &done);
  MessageWriter asked;
  write_call(call(), &asked);
  MessageWriter task;
  write_run(run(), &task);
  RowsResult a;
  CallRequest b;
  RunTask c;
  constexpr std::size_t kPadding = 4;  // of the 12 bytes of text in result()
  for (std::size_t bytes = 0; bytes + kPadding < done.bytes().size(); ++bytes) {
    EXPECT_EQ(read_rows_result(done.bytes().first(bytes), &a).code(), Code::kInternal) << bytes;
  }
  for (std::size_t bytes = 0; bytes < asked.bytes().size(); ++bytes) {
    EXPECT_EQ(read_call(asked.bytes().first(bytes), &b).code(), Code::kInternal) << bytes;
  }
  for (std::size_t bytes = 0; bytes < task.bytes().size(); ++bytes) {
    EXPECT_EQ(read_run(task.bytes().first(bytes), &c).code(), Code::kInternal) << bytes;
  }
}

TEST(MessageFaults, BytesBehindTheEnd) {
  for (auto* write : {write_done, write_called}) {
    MessageWriter writer;
    write(result(), &writer);
    writer.put(OutputHead{});
    RowsResult back;
    EXPECT_NE(read_rows_result(writer.bytes(), &back).message().find("goes on for"), std::string::npos);
  }
  MessageWriter writer;
  write_call(call(), &writer);
  writer.put(OutputHead{});
  CallRequest back;
  EXPECT_NE(read_call(writer.bytes(), &back).message().find("goes on for 8 bytes"), std::string::npos);
}

TEST(MessageFaults, OneKindIsNotReadAsAnother) {
  MessageWriter writer;
  write_run(run(), &writer);
  RowsResult rows;
  CallRequest asked;
  EXPECT_NE(read_rows_result(writer.bytes(), &rows).message().find("kind 1"), std::string::npos);
  EXPECT_NE(read_call(writer.bytes(), &asked).message().find("kind 1"), std::string::npos);
  writer.clear();
  write_call(call(), &writer);
  RunTask task;
  EXPECT_NE(read_run(writer.bytes(), &task).message().find("kind 18"), std::string::npos);
}

TEST(MessageFaults, CallsWithoutRowsOrTypes) {
  auto refused = [](const CallRequest& wrong) {
    MessageWriter writer;
    write_call(wrong, &writer);
    CallRequest back;
    return std::string(read_call(writer.bytes(), &back).message());
  };
  CallRequest wrong = call();
  wrong.rows = 0;
  EXPECT_EQ(refused(wrong), "a call record has no rows");
  wrong = call();
  wrong.inputs[0][0].dtype = DataType::kUnknown;
  wrong.inputs[0][0].row_bytes = 0;
  EXPECT_EQ(refused(wrong), "a call record has rows without a dtype");
}

TEST(MessageFaults, RunsWhoseRowsDoNotAddUp) {
  auto refused = [](const RunTask& wrong) {
    MessageWriter writer;
    write_run(wrong, &writer);
    RunTask back;
    return std::string(read_run(writer.bytes(), &back).message());
  };
  RunTask wrong = run();
  wrong.inputs[1].pieces[1].rows = 4;
  EXPECT_EQ(refused(wrong), "a run record has 5 rows in input 1 instead of 6");
  wrong = run();
  wrong.inputs[1].pieces = {{0, 1, std::numeric_limits<std::uint64_t>::max()}, {0, 1, 7}};
  EXPECT_NE(refused(wrong).find("longer than 64 bits can count"), std::string::npos);
  wrong = run();
  wrong.inputs[0].dtype = DataType::kUnknown;
  EXPECT_NE(refused(wrong).find("no dtype and shape that exist for input 0"), std::string::npos);
}

// Whatever single change comes, it is read or refused, and never read beyond the record (the address sanitizer looks).
TEST(MessageFaults, RandomDamage) {
  MessageWriter done;
  write_done(result(), &done);
  MessageWriter task;
  write_run(run(), &task);
  std::mt19937 random(2);
  for (int i = 0; i < 50'000; ++i) {
    const std::span<const std::byte> good = i % 2 == 0 ? done.bytes() : task.bytes();
    std::vector<std::byte> record(good.begin(), good.end());
    for (unsigned k = 0; k <= random() % 3; ++k) record[random() % record.size()] = static_cast<std::byte>(random());
    record.resize(record.size() - random() % 3 * 8);
    RowsResult rows;
    if (read_rows_result(record, &rows).ok()) {
      for (const auto& pieces : rows.outputs) {
        std::uint64_t sum = 0;
        for (const OutputPiece& p : pieces) sum += p.rows;
        ASSERT_EQ(sum, rows.rows);
      }
    }
    RunTask back;
    if (read_run(record, &back).ok()) {
      ASSERT_EQ(back.inputs.size(), back.head.inputs);
    }
  }
}

}  // namespace
}  // namespace servoir
