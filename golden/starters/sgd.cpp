// An SGD optimizer for `sgd-ref conform -- ./sgd`: replace `step`, and say in OFFERS what it can do.
// c++ -std=c++17 -O2 -ffp-contract=off -o sgd sgd.cpp
// Every number is held as a double, and `rounded` rounds it to a dtype.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <set>
#include <stdexcept>
#include <string>
#include <typeinfo>
#include <utility>
#include <vector>

const std::string OFFERS =
    R"("float32","float64","float16","bfloat16","mixed","momentum","piecewise","callable","missing","sparse")";

using Values = std::vector<double>;

struct Dtype {
    std::string name;
    int digits, precision, lowest;  // of a bit pattern; of the significand; the smallest exponent
};

struct Settings {
    double momentum;
    bool nesterov;
};

double rounded(const Dtype &dtype, double x);

// YOURS. It updates w (variable) and v (velocity) by the gradient g of one call. All numbers are of `dtype`,
// but for `rate` and the settings. Throw an exception to refuse.
void step(Values &w, Values &v, const Values &g, double rate, const Settings &settings, const Dtype &dtype) {
    double learning_rate = rounded(dtype, rate), momentum = rounded(dtype, settings.momentum);
    for (size_t i = 0; i < w.size(); i++) {
        double descent = rounded(dtype, learning_rate * g[i]);
        if (settings.momentum == 0) {
            w[i] = rounded(dtype, w[i] - descent);
        } else {
            v[i] = rounded(dtype, rounded(dtype, momentum * v[i]) - descent);
            w[i] = rounded(dtype, w[i] + v[i]);
        }
    }
}

// The rest needs no change, but for the settings that `step` is to have.

const std::vector<Dtype> DTYPES = {
    {"float16", 4, 11, -14}, {"bfloat16", 4, 8, -126}, {"float32", 8, 24, -126}, {"float64", 16, 53, -1022}};
const Dtype &FLOAT32 = DTYPES[2];

const Dtype &dtype_named(const std::string &name) {
    for (const Dtype &dtype : DTYPES)
        if (dtype.name == name) return dtype;
    throw std::invalid_argument("there is no dtype " + name);
}

// Numbers and their bits.

int exponent_of(double x, int lowest) { return x == 0 ? lowest : std::max(std::ilogb(x), lowest); }

// To nearest, ties to even.
double rounded(const Dtype &dtype, double x) {
    if (dtype.precision == 53 || x == 0 || !std::isfinite(x)) return x;
    if (dtype.precision == 24) return static_cast<float>(x);
    int unit = exponent_of(x, dtype.lowest) - dtype.precision + 1;
    double nearest = std::ldexp(std::nearbyint(std::ldexp(x, -unit)), unit);
    double largest = std::ldexp(2 - std::ldexp(1, 1 - dtype.precision), 1 - dtype.lowest);
    return std::fabs(nearest) > largest ? std::copysign(INFINITY, x) : nearest;
}

double from_bits(const Dtype &dtype, uint64_t pattern) {
    if (dtype.digits == 16) {
        double value;
        std::memcpy(&value, &pattern, sizeof value);
        return value;
    }
    uint64_t sign = UINT64_C(1) << (4 * dtype.digits - 1), hidden = UINT64_C(1) << (dtype.precision - 1);
    uint64_t magnitude = pattern & (sign - 1), fraction = magnitude & (hidden - 1);
    int field = static_cast<int>(magnitude / hidden);
    double value = std::ldexp(static_cast<double>(fraction + (field > 0 ? hidden : 0)),
                              std::max(field, 1) + dtype.lowest - dtype.precision);
    if (magnitude >= sign - hidden) value = magnitude == sign - hidden ? INFINITY : NAN;
    return pattern & sign ? -value : value;
}

uint64_t to_bits(const Dtype &dtype, double value) {
    uint64_t pattern;
    if (dtype.digits == 16) {
        std::memcpy(&pattern, &value, sizeof pattern);
        return pattern;
    }
    uint64_t sign = UINT64_C(1) << (4 * dtype.digits - 1), hidden = UINT64_C(1) << (dtype.precision - 1);
    if (std::isfinite(value)) {
        int exponent = exponent_of(value, dtype.lowest);
        pattern = static_cast<uint64_t>(exponent - dtype.lowest) * hidden;
        pattern += static_cast<uint64_t>(std::ldexp(std::fabs(value), dtype.precision - 1 - exponent));
    } else {
        pattern = sign - hidden + (std::isnan(value) ? 1 : 0);
    }
    return std::signbit(value) ? pattern + sign : pattern;
}

// A reader of JSON for lines that are right: commas and colons are skipped as spaces are.

struct Json {
    char type = 'n';  // n, t, f, 0, ", [ or {: null, true, false, a number, a string, a list, an object
    double number = 0;
    std::string string;
    std::vector<std::pair<std::string, Json>> members;

    bool is_there() const { return type != 'n'; }

    bool has(const std::string &key) const {
        for (const auto &member : members)
            if (member.first == key) return true;
        return false;
    }

    const Json &operator[](const std::string &key) const {
        for (const auto &member : members)
            if (member.first == key) return member.second;
        throw std::invalid_argument("the key " + key + " is missing");
    }

    const Json &operator[](size_t index) const { return members.at(index).second; }
    size_t size() const { return members.size(); }
};

void skip(const char *&p) { p += std::strspn(p, " \t\r\n,:"); }

// Escapes are kept as they are, so that an id is written as it was read.
std::string read_string(const char *&p) {
    const char *begin = ++p;
    while (*p != '"') p += *p == '\\' ? 2 : 1;
    return std::string(begin, p++);
}

Json read_json(const char *&p) {
    Json value;
    skip(p);
    if (*p == '{' || *p == '[') {
        value.type = *p++;
        for (skip(p); *p != '}' && *p != ']'; skip(p)) {
            std::string key = value.type == '{' ? read_string(p) : "";
            value.members.emplace_back(key, read_json(p));
        }
        p++;
    } else if (*p == '"') {
        value.type = '"';
        value.string = read_string(p);
    } else if (std::strchr("nft", *p)) {
        value.type = *p;
        p += std::strspn(p, "nulfasetr");
    } else {
        char *end;
        value.type = '0';
        value.number = std::strtod(p, &end);
        if (end == p) throw std::invalid_argument("this is no JSON: " + std::string(p).substr(0, 40));
        p = end;
    }
    return value;
}

// Arrays.

Values values_of(const Json &array) {
    const Dtype &dtype = dtype_named(array["dtype"].string);
    Values values;
    const char *position = array["bits"].string.c_str();
    while (*position != '\0') {
        char *end;
        values.push_back(from_bits(dtype, std::strtoull(position, &end, 16)));
        position = end;
    }
    return values;
}

std::string shape_of(const Json &array) {
    std::string shape;
    for (const auto &member : array["shape"].members)
        shape += (shape.empty() ? "" : ",") + std::to_string(static_cast<size_t>(member.second.number));
    return shape;
}

std::string written(const Dtype &dtype, const std::string &shape, const Values &values) {
    std::string bits;
    char word[20];
    for (double value : values) {
        std::snprintf(word, sizeof word, "%s%0*llx", bits.empty() ? "" : " ", dtype.digits,
                      static_cast<unsigned long long>(to_bits(dtype, value)));
        bits += word;
    }
    return R"({"dtype":")" + dtype.name + R"(","shape":[)" + shape + R"(],"bits":")" + bits + R"("})";
}

// The elements of a gradient; those of a narrower dtype are numbers of the wider one, too.
Values dense(const Json &gradient, size_t size, const Dtype &dtype) {
    if (!gradient.has("indices")) return values_of(gradient);
    Values rows = values_of(gradient["values"]), elements(size);
    std::set<size_t> seen;
    for (size_t j = 0; j < gradient["indices"].size(); j++) {
        size_t row = static_cast<size_t>(gradient["indices"][j].number);
        size_t width = rows.size() / gradient["indices"].size();
        for (size_t i = 0; i < width; i++) {
            double &element = elements.at(row * width + i), given = rows[j * width + i];
            element = seen.count(row) ? rounded(dtype, element + given) : given;
        }
        seen.insert(row);
    }
    return elements;
}

// The rate of a call: `call` counts from 0 in this case, `calls` from the start of the training.
double rate_of(const Json &document, size_t call, double calls) {
    const Json &given = document["config"]["learning_rate"], &called = document["learning_rate_calls"];
    if (called.is_there()) return static_cast<float>(values_of(called).at(call));
    if (given.type == '0') return static_cast<float>(given.number);
    size_t piece = 0;
    for (const auto &boundary : given["config"]["boundaries"].members) piece += calls > boundary.second.number;
    return static_cast<float>(given["config"]["values"][piece].number);
}

std::string list_of(const Json &variables, const std::vector<Values> &lists) {
    std::string list;
    for (size_t k = 0; k < lists.size(); k++)
        list += (k > 0 ? "," : "") +
                written(dtype_named(variables[k]["dtype"].string), shape_of(variables[k]), lists[k]);
    return "[" + list + "]";
}

std::string trajectory_of(const Json &document, std::string &place) {
    const Json &config = document["config"], &state = document["state"], &arrays = document["variables"];
    Settings settings = {config["momentum"].number, config["nesterov"].type == 't'};
    std::vector<Values> variables, velocities;
    for (size_t k = 0; k < arrays.size(); k++) {
        bool is_kept = state.is_there() && state["velocities"].size() > 0;
        variables.push_back(values_of(arrays[k]));
        velocities.push_back(is_kept ? values_of(state["velocities"][k]) : Values(variables[k].size()));
    }
    double calls = state.is_there() ? state["calls"].number : 0;
    auto record = [&](const std::string &rate) {
        std::string count = std::to_string(static_cast<uint64_t>(calls));
        return "{\"variables\":" + list_of(arrays, variables) +
               ",\"velocities\":" + (settings.momentum != 0 ? list_of(arrays, velocities) : "[]") +
               ",\"iterations\":" + count + ",\"calls\":" + count + rate + "}";
    };
    std::string records;
    for (size_t call = 0; call < document["gradients"].size(); call++) {
        place = std::to_string(call);
        double rate = rate_of(document, call, calls);
        for (size_t k = 0; k < arrays.size(); k++) {
            const Json &gradient = document["gradients"][call][k];
            const Dtype &dtype = dtype_named(arrays[k]["dtype"].string);
            if (!gradient.is_there()) continue;
            step(variables[k], velocities[k], dense(gradient, variables[k].size(), dtype), rate, settings, dtype);
        }
        calls++;
        records += (call > 0 ? "," : "") + record(",\"learning_rate\":" + written(FLOAT32, "", {rate}));
    }
    if (document["finalize"].type == 't') records += "," + record("");
    return "\"trajectory\":[" + records + "]";
}

std::string escaped(const std::string &text) {
    std::string result;
    for (char character : text) {
        if (character == '"' || character == '\\') result += '\\';
        result += static_cast<unsigned char>(character) < 0x20 ? ' ' : character;
    }
    return result;
}

std::string outcome_of(const Json &document) {
    std::string place = "null";
    try {
        return trajectory_of(document, place);
    } catch (const std::exception &error) {
        return R"("error":{"type":")" + escaped(typeid(error).name()) + R"(","message":")" +
               escaped(error.what()) + R"(","call":)" + place + "}";
    }
}

int main() {
    std::cout << R"({"protocol":2,"name":"my-sgd","version":"1.0","language":"C++","offers":[)" << OFFERS << "]}"
              << std::endl;
    for (std::string line; std::getline(std::cin, line);) {
        const char *position = line.c_str();
        Json document = read_json(position);
        std::cout << R"({"id":")" << document["id"].string << R"(",)" << outcome_of(document) << "}" << std::endl;
    }
}
