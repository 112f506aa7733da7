#include <dlib/cuda/tensor_tools.h>
#include <dlib/dnn/core.h>
#include <dlib/dnn/solvers.h>

dlib::resizable_tensor tensor_of(const Values &values) {
    dlib::resizable_tensor tensor(static_cast<long long>(values.size()));
    std::copy(values.begin(), values.end(), tensor.host());
    return tensor;
}

// All that a solver asks of a layer: its parameters.
struct Layer {
    const dlib::tensor &parameters;
    const dlib::tensor &get_layer_params() const { return parameters; }
};

// A solver that goes on from the velocity that v holds.
dlib::sgd solver_of(const Values &v, const Settings &settings) {
    std::stringstream kept;
    dlib::serialize("sgd2", kept);
    dlib::serialize(tensor_of(v), kept);
    dlib::serialize(static_cast<float>(settings.weight_decay), kept);
    dlib::serialize(static_cast<float>(settings.momentum), kept);
    dlib::sgd solver;
    deserialize(solver, kept);
    return solver;
}

void step(Values &w, Values &v, const Values &g, double rate, const Settings &settings, const Dtype &) {
    dlib::resizable_tensor parameters = tensor_of(w), gradient = tensor_of(g);
    dlib::sgd solver = solver_of(v, settings);
    const dlib::tensor &velocity = solver(static_cast<float>(rate), Layer{parameters}, gradient);
    // As a network of dlib updates the parameters of a layer.
    dlib::tt::add(parameters, parameters, velocity);
    std::copy_n(parameters.host(), w.size(), w.begin());
    std::copy_n(velocity.host(), v.size(), v.begin());
}
