#include <torch/torch.h>

torch::Tensor tensor_of(const Values &values, torch::ScalarType type) {
    return torch::tensor(values, torch::dtype(torch::kFloat64)).to(type);
}

void copy_to(Values &values, const torch::Tensor &tensor) {
    torch::Tensor wide = tensor.detach().to(torch::kFloat64).contiguous();
    std::copy_n(wide.data_ptr<double>(), values.size(), values.begin());
}

torch::ScalarType type_of(const std::string &name) {
    if (name == "float16") return torch::kFloat16;
    if (name == "bfloat16") return torch::kBFloat16;
    return name == "float32" ? torch::kFloat32 : torch::kFloat64;
}

// An optimizer for each variable, which goes on from the momentum buffer that v holds.
void step(Values &w, Values &v, const Values &g, double rate, const Settings &settings, const Dtype &dtype) {
    torch::ScalarType type = type_of(dtype.name);
    torch::Tensor parameter = tensor_of(w, type).set_requires_grad(true);
    parameter.mutable_grad() = tensor_of(g, type);
    if (settings.clipnorm > 0) torch::nn::utils::clip_grad_norm_(parameter, settings.clipnorm);
    if (settings.clipvalue > 0) torch::nn::utils::clip_grad_value_(parameter, settings.clipvalue);
    auto options = torch::optim::SGDOptions(0).momentum(settings.momentum);
    options.nesterov(settings.nesterov && settings.momentum != 0);
    torch::optim::SGD optimizer({parameter}, options);
    // As those who change a rate do; only the constructor refuses negative numbers.
    auto &changed = static_cast<torch::optim::SGDOptions &>(optimizer.param_groups()[0].options());
    changed.lr(rate).weight_decay(settings.weight_decay);
    // The first gradient becomes the buffer. One of zeros that came about otherwise gives the same but for -0.0.
    bool is_first = true;
    for (double number : v) is_first &= number == 0 && !std::signbit(number);
    if (settings.momentum != 0 && !is_first) {
        auto state = std::make_unique<torch::optim::SGDParamState>();
        state->momentum_buffer(tensor_of(v, type));
        optimizer.state()[parameter.unsafeGetTensorImpl()] = std::move(state);
    }
    optimizer.step();
    copy_to(w, parameter);
    if (settings.momentum != 0) {
        auto &state = *optimizer.state()[parameter.unsafeGetTensorImpl()];
        copy_to(v, static_cast<torch::optim::SGDParamState &>(state).momentum_buffer());
    }
}

