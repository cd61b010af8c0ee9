#include "request/graph.h"

#include "support/small_servable.h"

namespace servoir {
namespace {

ServableSpec good_spec() {
  ServableSpec spec;
  spec.name = "s";
  spec.callees = {function_callee("f", 1, 1, 8), model_callee("k", {2}, 4)};
  spec.methods = {chain("m", {0, 1})};
  return spec;
}

TEST(Graph, AcceptsAChain) { EXPECT_TRUE(check(good_spec()).ok()); }

TEST(Graph, RefusesWhatDoesNotFit) {
  struct Case {
    const char* text;
    void (*spoil)(ServableSpec*);
  };
  const Case cases[] = {
      {"a servable needs a name", [](ServableSpec* s) { s->name.clear(); }},
      {"a version is a positive number", [](ServableSpec* s) { s->version = 0; }},
      {"calls callee 9", [](ServableSpec* s) { s->methods[0].stages[1].callee = 9; }},
      {"which comes later", [](ServableSpec* s) { s->methods[0].stages[0].inputs[0] = 2; }},
      {"its outputs start at value", [](ServableSpec* s) { s->methods[0].stages[1].first_output = 7; }},
      {"'f' has 1 and 1", [](ServableSpec* s) { s->methods[0].stages[0].outputs = 2; }},
      {"counts 9 values", [](ServableSpec* s) { s->methods[0].values = 9; }},
      {"returns value 8", [](ServableSpec* s) { s->methods[0].outputs[0] = 8; }},
      {"names 2 outputs", [](ServableSpec* s) { s->methods[0].output_names.emplace_back("z"); }},
      {"is there twice", [](ServableSpec* s) { s->methods.push_back(s->methods[0]); }},
      {"max_batch is 0", [](ServableSpec* s) { s->callees[0].max_batch = 0; }},
      {"describes 0 inputs", [](ServableSpec* s) { s->callees[1].input_ports.clear(); }},
      {"has dtypes for 2 inputs and 1", [](ServableSpec* s) { s->methods[0].input_dtypes.resize(2); }},
      {"has no outputs", [](ServableSpec* s) { s->callees[0].outputs = 0; }},
  };
  for (const Case& c : cases) {
    ServableSpec spec = good_spec();
    c.spoil(&spec);
    const Status status = check(spec);
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << c.text;
    EXPECT_NE(status.message().find(c.text), std::string_view::npos) << status.message();
  }
}

TEST(Graph, InputsArePlacedForTheModelThatReadsThem) {
  auto servable = std::make_shared<ServableSpec>(good_spec());
  // x goes to the function and to the model; y goes nowhere.
  MethodSpec& method = servable->methods[0];
  method.inputs = {"x", "y"};
  method.stages[0].inputs = {0};
  method.stages[0].first_output = 2;
  method.stages[1].inputs = {0};
  method.stages[1].first_output = 3;
  method.values = 4;
  method.outputs = {3};
  ASSERT_TRUE(check(*servable).ok());
  const auto made = make_method(servable, &method, 5);
  EXPECT_EQ(made->homes[0].slab_consumer, slab_consumer(5, 1, 0));
  EXPECT_EQ(made->homes[0].batch_rows, 4U);
  EXPECT_EQ(made->homes[1].batch_rows, 1U);
  EXPECT_NE(made->homes[1].slab_consumer, made->homes[0].slab_consumer);
  EXPECT_EQ(made->input_index("y"), 1);
  EXPECT_EQ(made->input_index("z"), -1);
}

TEST(Graph, AnInputHasTheDtypeOfTheModelsThatTakeIt) {
  auto servable = std::make_shared<ServableSpec>(good_spec());
  servable->callees.push_back(servable->callees[1]);
  servable->callees[2].input_ports[0].dtype = DataType::kInt64;
  MethodSpec& method = servable->methods[0];
  // Stages of one input each: a goes to a model, b to two that agree, c to two that do not, d to a model and a
  // function, e to a model and out of the method, f nowhere.
  method.inputs = {"a", "b", "c", "d", "e", "f"};
  method.stages.clear();
  std::uint32_t values = 6;
  for (const auto& [callee, input] : std::vector<std::pair<std::uint32_t, std::uint32_t>>{
           {2, 0}, {1, 1}, {1, 1}, {1, 2}, {2, 2}, {1, 3}, {0, 3}, {2, 4}}) {
    method.stages.push_back({callee, {input}, values++, 1, ""});
  }
  method.values = values;
  method.outputs = {4};
  ASSERT_TRUE(check(*servable).ok()) << check(*servable).message();
  const auto dtypes = [&] {
    const std::shared_ptr<const Method> made = make_method(servable, &method, 5);
    std::string text;
    for (const Port& port : made->input_ports) {
      text += std::string(name_of(port.dtype)) + (port.rank_known ? port.shape.text() : "") + " ";
    }
    return text;
  };
  const std::string unknown(name_of(DataType::kUnknown));
  EXPECT_EQ(dtypes(), "int64[2] float32[2] " + unknown + "[2] " + unknown + "[2] int64[2] " + unknown + " ");
  method.input_dtypes = {DataType::kUnknown, DataType::kFloat64, DataType::kBool,
                         DataType::kUint8,   DataType::kUnknown, DataType::kFloat16};
  EXPECT_EQ(dtypes(), "int64[2] float64[2] bool[2] uint8[2] int64[2] float16 ");
}

TEST(Graph, LabelsNameTheTagOrTheCallee) {
  const ServableSpec spec = good_spec();
  StageSpec stage = spec.methods[0].stages[0];
  EXPECT_EQ(stage_label(spec, stage), "Function 's.f'");
  EXPECT_EQ(stage_label(spec, spec.methods[0].stages[1]), "Model 'k'");
  stage.tag = "Preprocess";
  EXPECT_EQ(stage_label(spec, stage), "Preprocess");
}

}  // namespace
}  // namespace servoir
