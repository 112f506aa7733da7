// An SGD optimizer for `sgd-ref conform -- ./sgd`: replace `step`, and say in OFFERS what it can do.
// rustc --edition 2021 -O -o sgd sgd.rs
// Every number is held as an f64, and `rounded` rounds it to a dtype.
use std::collections::HashSet;
use std::io::{BufRead, Write};
use std::panic::{catch_unwind, AssertUnwindSafe};

const OFFERS: &str =
    r#""float32","float64","float16","bfloat16","mixed","momentum","piecewise","callable","missing","sparse""#;

struct Settings {
    momentum: f64,
    #[allow(dead_code)]
    nesterov: bool,
}

// YOURS. It updates w (variable) and v (velocity) by the gradient g of one call. All numbers are of `dtype`,
// but for `rate` and the settings. Return an error, or panic, to refuse.
fn step(w: &mut [f64], v: &mut [f64], g: &[f64], rate: f64, settings: &Settings, dtype: Dtype) -> Result<(), String> {
    let (learning_rate, momentum) = (rounded(dtype, rate), rounded(dtype, settings.momentum));
    for i in 0..w.len() {
        let descent = rounded(dtype, learning_rate * g[i]);
        if settings.momentum == 0.0 {
            w[i] = rounded(dtype, w[i] - descent);
        } else {
            v[i] = rounded(dtype, rounded(dtype, momentum * v[i]) - descent);
            w[i] = rounded(dtype, w[i] + v[i]);
        }
    }
    Ok(())
}

// The rest needs no change, but for the settings that `step` is to have.

/// Digits of a bit pattern, precision, smallest exponent.
#[derive(Clone, Copy)]
struct Dtype {
    name: &'static str,
    digits: usize,
    precision: i32,
    lowest: i32,
}

const FLOAT32: Dtype = Dtype { name: "float32", digits: 8, precision: 24, lowest: -126 };
const DTYPES: [Dtype; 4] = [
    Dtype { name: "float16", digits: 4, precision: 11, lowest: -14 },
    Dtype { name: "bfloat16", digits: 4, precision: 8, lowest: -126 },
    FLOAT32,
    Dtype { name: "float64", digits: 16, precision: 53, lowest: -1022 },
];

fn dtype_of(array: &Json) -> Dtype {
    let name = array.get("dtype").text();
    *DTYPES.iter().find(|dtype| dtype.name == name).expect("one of the four dtypes")
}

fn exponent_of(x: f64, lowest: i32) -> i32 {
    ((x.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(lowest)
}

/// To nearest, ties to even.
fn rounded(dtype: Dtype, x: f64) -> f64 {
    if dtype.precision == 53 || x == 0.0 || !x.is_finite() {
        return x;
    }
    if dtype.precision == 24 {
        return x as f32 as f64;
    }
    let unit = 2f64.powi(exponent_of(x, dtype.lowest) - dtype.precision + 1);
    let nearest = (x / unit).round_ties_even() * unit;
    let largest = (2.0 - 2f64.powi(1 - dtype.precision)) * 2f64.powi(1 - dtype.lowest);
    if nearest.abs() > largest { f64::INFINITY.copysign(x) } else { nearest }
}

fn from_bits(dtype: Dtype, word: &str) -> f64 {
    let pattern = u64::from_str_radix(word, 16).expect("hexadecimal digits");
    if dtype.digits == 16 {
        return f64::from_bits(pattern);
    }
    let (sign, hidden) = (1u64 << (4 * dtype.digits - 1), 1u64 << (dtype.precision - 1));
    let magnitude = pattern & (sign - 1);
    let field = (magnitude / hidden) as i32;
    let integer = magnitude % hidden + if field > 0 { hidden } else { 0 };
    let unit = 2f64.powi(field.max(1) + dtype.lowest - dtype.precision);
    let value = match magnitude {
        m if m > sign - hidden => f64::NAN,
        m if m == sign - hidden => f64::INFINITY,
        _ => integer as f64 * unit,
    };
    if pattern & sign != 0 { -value } else { value }
}

fn to_bits(dtype: Dtype, value: f64) -> u64 {
    if dtype.digits == 16 {
        return value.to_bits();
    }
    let (sign, hidden) = (1u64 << (4 * dtype.digits - 1), 1u64 << (dtype.precision - 1));
    let magnitude = if value.is_finite() {
        let exponent = exponent_of(value, dtype.lowest);
        let integer = value.abs() / 2f64.powi(exponent - dtype.precision + 1);
        (exponent - dtype.lowest) as u64 * hidden + integer as u64
    } else {
        sign - hidden + u64::from(value.is_nan())
    };
    magnitude + if value.is_sign_negative() { sign } else { 0 }
}

// A reader of JSON for lines that are right: commas and colons are skipped as spaces are.

enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    fn find(&self, key: &str) -> Option<&Json> {
        let Json::Object(members) = self else { return None };
        members.iter().find(|member| member.0 == key).map(|member| &member.1)
    }

    fn get(&self, key: &str) -> &Json {
        self.find(key).unwrap_or_else(|| panic!("the key {key} is missing"))
    }

    fn list(&self) -> &[Json] {
        if let Json::List(members) = self { members } else { &[] }
    }

    fn text(&self) -> &str {
        if let Json::Text(text) = self { text } else { "" }
    }

    fn number(&self) -> f64 {
        if let Json::Number(number) = self { *number } else { 0.0 }
    }

    fn is_true(&self) -> bool {
        matches!(self, Json::Bool(true))
    }
}

struct Reader<'a> {
    text: &'a str,
    place: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> u8 {
        while b" \t\r\n,:".contains(&self.text.as_bytes()[self.place]) {
            self.place += 1;
        }
        self.text.as_bytes()[self.place]
    }

    /// Escapes are kept as they are, so that an id is written as it was read.
    fn string(&mut self) -> String {
        let begin = self.place + 1;
        self.place = begin;
        while self.text.as_bytes()[self.place] != b'"' {
            self.place += if self.text.as_bytes()[self.place] == b'\\' { 2 } else { 1 };
        }
        self.place += 1;
        self.text[begin..self.place - 1].to_string()
    }

    fn word(&mut self) -> &str {
        let rest = &self.text[self.place..];
        let length = rest.find([',', ':', ']', '}', ' ', '\r', '\n']).unwrap_or(rest.len());
        self.place += length;
        &rest[..length]
    }

    fn value(&mut self) -> Json {
        match self.next() {
            b'{' => {
                let mut members = Vec::new();
                self.place += 1;
                while self.next() != b'}' {
                    members.push((self.string(), self.value()));
                }
                self.place += 1;
                Json::Object(members)
            }
            b'[' => {
                let mut members = Vec::new();
                self.place += 1;
                while self.next() != b']' {
                    members.push(self.value());
                }
                self.place += 1;
                Json::List(members)
            }
            b'"' => Json::Text(self.string()),
            _ => match self.word() {
                "null" => Json::Null,
                "true" => Json::Bool(true),
                "false" => Json::Bool(false),
                word => Json::Number(word.parse().expect("a number")),
            },
        }
    }
}

// Arrays.

fn values_of(array: &Json) -> Vec<f64> {
    let words = array.get("bits").text().split_whitespace();
    words.map(|word| from_bits(dtype_of(array), word)).collect()
}

fn written(dtype: Dtype, shape: &[Json], values: &[f64]) -> String {
    let lengths: Vec<String> = shape.iter().map(|length| length.number().to_string()).collect();
    let bits: Vec<String> =
        values.iter().map(|value| format!("{:01$x}", to_bits(dtype, *value), dtype.digits)).collect();
    let (name, lengths, bits) = (dtype.name, lengths.join(","), bits.join(" "));
    format!(r#"{{"dtype":"{name}","shape":[{lengths}],"bits":"{bits}"}}"#)
}

/// The elements of a gradient; those of a narrower dtype are numbers of the wider one, too.
fn dense(gradient: &Json, size: usize, dtype: Dtype) -> Vec<f64> {
    let Some(indices) = gradient.find("indices") else { return values_of(gradient) };
    let (values, mut elements, mut seen) = (values_of(gradient.get("values")), vec![0.0; size], HashSet::new());
    for (j, index) in indices.list().iter().enumerate() {
        let (row, width) = (index.number() as usize, values.len() / indices.list().len());
        for i in 0..width {
            let (element, given) = (&mut elements[row * width + i], values[j * width + i]);
            *element = if seen.contains(&row) { rounded(dtype, *element + given) } else { given };
        }
        seen.insert(row);
    }
    elements
}

/// The rate of a call: `call` counts from 0 in this case, `calls` from the start of the training.
fn rate_of(case: &Json, call: usize, calls: f64) -> f64 {
    let (given, called) = (case.get("config").get("learning_rate"), case.get("learning_rate_calls"));
    let rate = match (called, given) {
        (Json::Object(_), _) => values_of(called)[call],
        (_, Json::Number(number)) => *number,
        _ => {
            let config = given.get("config");
            let boundaries = config.get("boundaries").list().iter();
            config.get("values").list()[boundaries.filter(|boundary| calls > boundary.number()).count()].number()
        }
    };
    rate as f32 as f64
}

fn lists(arrays: &[Json], lists: &[Vec<f64>]) -> String {
    let each = arrays.iter().zip(lists);
    let parts: Vec<String> = each.map(|(a, values)| written(dtype_of(a), a.get("shape").list(), values)).collect();
    parts.join(",")
}

fn trajectory_of(case: &Json, place: &mut String) -> Result<String, String> {
    let (config, state, arrays) = (case.get("config"), case.get("state"), case.get("variables").list());
    let settings =
        Settings { momentum: config.get("momentum").number(), nesterov: config.get("nesterov").is_true() };
    let mut variables: Vec<Vec<f64>> = arrays.iter().map(values_of).collect();
    let mut velocities: Vec<Vec<f64>> =
        state.find("velocities").map_or(vec![], |kept| kept.list().iter().map(values_of).collect());
    if velocities.is_empty() {
        velocities = variables.iter().map(|values| vec![0.0; values.len()]).collect();
    }
    let mut calls = state.find("calls").map_or(0.0, Json::number);
    let record = |variables: &[Vec<f64>], velocities: &[Vec<f64>], calls: f64, rate: &str| {
        let velocities = if settings.momentum == 0.0 { String::new() } else { lists(arrays, velocities) };
        let variables = lists(arrays, variables);
        let counts = format!(r#""iterations":{calls},"calls":{calls}{rate}"#);
        format!(r#"{{"variables":[{variables}],"velocities":[{velocities}],{counts}}}"#)
    };
    let mut records = Vec::new();
    for (call, gradients) in case.get("gradients").list().iter().enumerate() {
        *place = call.to_string();
        let rate = rate_of(case, call, calls);
        for (k, gradient) in gradients.list().iter().enumerate() {
            if let Json::Null = gradient {
                continue;
            }
            let dtype = dtype_of(&arrays[k]);
            let g = dense(gradient, variables[k].len(), dtype);
            step(&mut variables[k], &mut velocities[k], &g, rate, &settings, dtype)?;
        }
        calls += 1.0;
        let told = format!(r#","learning_rate":{}"#, written(FLOAT32, &[], &[rate]));
        records.push(record(&variables, &velocities, calls, &told));
    }
    if case.get("finalize").is_true() {
        records.push(record(&variables, &velocities, calls, ""));
    }
    Ok(format!(r#""trajectory":[{}]"#, records.join(",")))
}

fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace(|c: char| c.is_control(), " ")
}

fn outcome_of(case: &Json) -> String {
    let mut place = "null".to_string();
    let (kind, message) = match catch_unwind(AssertUnwindSafe(|| trajectory_of(case, &mut place))) {
        Ok(Ok(trajectory)) => return trajectory,
        Ok(Err(message)) => ("Err", message),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
            ("panic", text.or(panic.downcast_ref::<String>().cloned()).unwrap_or_default())
        }
    };
    format!(r#""error":{{"type":"{kind}","message":"{}","call":{place}}}"#, escaped(&message))
}

fn main() {
    let mut out = std::io::stdout().lock();
    let mut write = |line: String| writeln!(out, "{line}").and_then(|()| out.flush()).expect("a reader");
    write(format!(
        r#"{{"protocol":2,"name":"my-sgd","version":"1.0","language":"Rust","offers":[{OFFERS}]}}"#
    ));
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("text in UTF-8");
        let case = Reader { text: &line, place: 0 }.value();
        write(format!(r#"{{"id":"{}",{}}}"#, case.get("id").text(), outcome_of(&case)));
    }
}
