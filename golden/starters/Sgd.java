// An SGD optimizer for `sgd-ref conform -- java Sgd.java`: replace `step`, and say in OFFERS what it can do.
// Needs nothing but Java 17. Every number is held as a double, and `rounded` rounds it to a dtype.

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.StringJoiner;

public class Sgd {
    static final String OFFERS = """
        "float32","float64","float16","bfloat16","mixed","momentum","piecewise","callable","missing","sparse\"""";

    // YOURS. It updates w (variable) and v (velocity) by the gradient g of one call. All numbers are of `dtype`,
    // but for `rate` and the settings in `config`. Throw an exception to refuse.
    static void step(double[] w, double[] v, double[] g, double rate, Map<String, Object> config, Dtype dtype) {
        double setting = (double) config.get("momentum");
        double learningRate = rounded(dtype, rate), momentum = rounded(dtype, setting);
        for (int i = 0; i < w.length; i++) {
            double descent = rounded(dtype, learningRate * g[i]);
            if (setting == 0) {
                w[i] = rounded(dtype, w[i] - descent);
            } else {
                v[i] = rounded(dtype, rounded(dtype, momentum * v[i]) - descent);
                w[i] = rounded(dtype, w[i] + v[i]);
            }
        }
    }

    // The rest needs no change.

    enum Dtype {
        float16(4, 11, -14), bfloat16(4, 8, -126), float32(8, 24, -126), float64(16, 53, -1022);

        final int digits, precision, lowest;

        /** Digits of a bit pattern, precision, smallest exponent. */
        Dtype(int digits, int precision, int lowest) {
            this.digits = digits;
            this.precision = precision;
            this.lowest = lowest;
        }
    }

    /** To nearest, ties to even. */
    static double rounded(Dtype dtype, double x) {
        if (dtype == Dtype.float64 || x == 0 || !Double.isFinite(x)) return x;
        if (dtype == Dtype.float32) return (float) x;
        double unit = power(Math.max(Math.getExponent(x), dtype.lowest) - dtype.precision + 1);
        double nearest = Math.rint(x / unit) * unit;
        double largest = (2 - power(1 - dtype.precision)) * power(1 - dtype.lowest);
        return Math.abs(nearest) > largest ? Math.copySign(Double.POSITIVE_INFINITY, x) : nearest;
    }

    static double power(int exponent) {
        return Math.scalb(1.0, exponent);
    }

    static double fromBits(Dtype dtype, String word) {
        long pattern = Long.parseUnsignedLong(word, 16);
        if (dtype == Dtype.float64) return Double.longBitsToDouble(pattern);
        long sign = 1L << (4 * dtype.digits - 1), hidden = 1L << (dtype.precision - 1);
        long magnitude = pattern & (sign - 1), field = magnitude / hidden;
        double integer = magnitude % hidden + (field > 0 ? hidden : 0);
        double value = integer * power((int) Math.max(field, 1) + dtype.lowest - dtype.precision);
        if (magnitude >= sign - hidden) {
            value = magnitude == sign - hidden ? Double.POSITIVE_INFINITY : Double.NaN;
        }
        return (pattern & sign) != 0 ? -value : value;
    }

    static String toBits(Dtype dtype, double value) {
        if (dtype == Dtype.float64) return String.format("%016x", Double.doubleToLongBits(value));
        long sign = 1L << (4 * dtype.digits - 1), hidden = 1L << (dtype.precision - 1), pattern;
        if (Double.isFinite(value)) {
            int exponent = Math.max(Math.getExponent(value), dtype.lowest);
            pattern = (exponent - dtype.lowest) * hidden;
            pattern += (long) (Math.abs(value) / power(exponent - dtype.precision + 1));
        } else {
            pattern = sign - hidden + (Double.isNaN(value) ? 1 : 0);
        }
        if (Math.copySign(1, value) < 0) pattern += sign;
        return String.format("%0" + dtype.digits + "x", pattern);
    }

    // A reader of JSON for lines that are right: commas and colons are skipped as spaces are.
    // An object becomes a Map, a list a List, a number a Double.

    static class Reader {
        final String text;
        int place = 0;

        Reader(String text) {
            this.text = text;
        }

        char next() {
            while (" \t\r\n,:".indexOf(text.charAt(place)) >= 0) place++;
            return text.charAt(place);
        }

        /** Escapes are kept as they are, so that an id is written as it was read. */
        String string() {
            next();
            int begin = ++place;
            while (text.charAt(place) != '"') place += text.charAt(place) == '\\' ? 2 : 1;
            return text.substring(begin, place++);
        }

        Object value() {
            char first = next();
            if (first == '"') return string();
            if (first == '{') {
                Map<String, Object> members = new LinkedHashMap<>();
                for (place++; next() != '}'; ) members.put(string(), value());
                place++;
                return members;
            }
            if (first == '[') {
                List<Object> members = new ArrayList<>();
                for (place++; next() != ']'; ) members.add(value());
                place++;
                return members;
            }
            int begin = place;
            while (place < text.length() && " \t\r\n,:]}".indexOf(text.charAt(place)) < 0) place++;
            String word = text.substring(begin, place);
            return switch (word) {
                case "null" -> null;
                case "true" -> true;
                case "false" -> false;
                default -> Double.valueOf(word);
            };
        }
    }

    @SuppressWarnings("unchecked")
    static Map<String, Object> object(Object value) {
        return (Map<String, Object>) value;
    }

    @SuppressWarnings("unchecked")
    static List<Object> list(Object value) {
        return (List<Object>) value;
    }

    // Arrays.

    static Dtype dtypeOf(Map<String, Object> array) {
        return Dtype.valueOf((String) array.get("dtype"));
    }

    static double[] valuesOf(Map<String, Object> array) {
        String bits = (String) array.get("bits");
        String[] words = bits.isEmpty() ? new String[0] : bits.split(" ");
        double[] values = new double[words.length];
        for (int i = 0; i < words.length; i++) values[i] = fromBits(dtypeOf(array), words[i]);
        return values;
    }

    static String written(Dtype dtype, List<Object> shape, double... values) {
        StringJoiner bits = new StringJoiner(" "), lengths = new StringJoiner(",");
        for (double value : values) bits.add(toBits(dtype, value));
        for (Object length : shape) lengths.add(String.format("%.0f", (double) length));
        return "{\"dtype\":\"%s\",\"shape\":[%s],\"bits\":\"%s\"}".formatted(dtype, lengths, bits);
    }

    /** The elements of a gradient; those of a narrower dtype are numbers of the wider one, too. */
    static double[] dense(Map<String, Object> gradient, int size, Dtype dtype) {
        if (!gradient.containsKey("indices")) return valuesOf(gradient);
        List<Object> indices = list(gradient.get("indices"));
        double[] values = valuesOf(object(gradient.get("values"))), elements = new double[size];
        Set<Integer> seen = new HashSet<>();
        for (int j = 0; j < indices.size(); j++) {
            int row = (int) (double) indices.get(j), width = values.length / indices.size();
            for (int i = 0; i < width; i++) {
                int place = row * width + i;
                double given = values[j * width + i];
                elements[place] = seen.contains(row) ? rounded(dtype, elements[place] + given) : given;
            }
            seen.add(row);
        }
        return elements;
    }

    /** The rate of a call: `call` counts from 0 in this case, `calls` from the start of the training. */
    static double rateOf(Map<String, Object> document, int call, double calls) {
        if (document.get("learning_rate_calls") != null) {
            return (float) valuesOf(object(document.get("learning_rate_calls")))[call];
        }
        Object given = object(document.get("config")).get("learning_rate");
        if (given instanceof Double number) return (float) (double) number;
        Map<String, Object> config = object(object(given).get("config"));
        int piece = 0;
        for (Object boundary : list(config.get("boundaries"))) if (calls > (double) boundary) piece++;
        return (float) (double) list(config.get("values")).get(piece);
    }

    static String lists(List<Object> arrays, List<double[]> lists) {
        StringJoiner joined = new StringJoiner(",", "[", "]");
        for (int k = 0; k < lists.size(); k++) {
            Map<String, Object> array = object(arrays.get(k));
            joined.add(written(dtypeOf(array), list(array.get("shape")), lists.get(k)));
        }
        return joined.toString();
    }

    /** A case on its way. */
    static class Run {
        Integer call = null;

        String trajectory(Map<String, Object> document) {
            Map<String, Object> config = object(document.get("config")), state = object(document.get("state"));
            List<Object> arrays = list(document.get("variables"));
            List<Object> kept = state == null ? List.of() : list(state.get("velocities"));
            List<double[]> variables = new ArrayList<>(), velocities = new ArrayList<>();
            for (int k = 0; k < arrays.size(); k++) {
                variables.add(valuesOf(object(arrays.get(k))));
                boolean isKept = !kept.isEmpty();
                velocities.add(isKept ? valuesOf(object(kept.get(k))) : new double[variables.get(k).length]);
            }
            double calls = state == null ? 0 : (double) state.get("calls");
            boolean hasMomentum = (double) config.get("momentum") != 0;
            StringJoiner records = new StringJoiner(",", "\"trajectory\":[", "]");
            List<Object> gradients = list(document.get("gradients"));
            String record = "{\"variables\":%s,\"velocities\":%s,\"iterations\":%.0f,\"calls\":%.0f%s}";
            for (call = 0; call < gradients.size(); call++) {
                double rate = rateOf(document, call, calls);
                for (int k = 0; k < arrays.size(); k++) {
                    Map<String, Object> gradient = object(list(gradients.get(call)).get(k));
                    if (gradient == null) continue;
                    Dtype dtype = dtypeOf(object(arrays.get(k)));
                    double[] w = variables.get(k), g = dense(gradient, w.length, dtype);
                    step(w, velocities.get(k), g, rate, config, dtype);
                }
                calls++;
                String told = ",\"learning_rate\":" + written(Dtype.float32, List.of(), rate);
                String reported = hasMomentum ? lists(arrays, velocities) : "[]";
                records.add(record.formatted(lists(arrays, variables), reported, calls, calls, told));
            }
            if ((boolean) document.get("finalize")) {
                String reported = hasMomentum ? lists(arrays, velocities) : "[]";
                records.add(record.formatted(lists(arrays, variables), reported, calls, calls, ""));
            }
            return records.toString();
        }
    }

    static String escaped(String text) {
        return text.replace("\\", "\\\\").replace("\"", "\\\"").replaceAll("\\p{Cntrl}", " ");
    }

    static String outcome(Map<String, Object> document) {
        Run run = new Run();
        try {
            return run.trajectory(document);
        } catch (RuntimeException error) {
            return "\"error\":{\"type\":\"%s\",\"message\":\"%s\",\"call\":%d}".formatted(
                error.getClass().getSimpleName(), escaped(String.valueOf(error.getMessage())), run.call);
        }
    }

    public static void main(String[] arguments) throws IOException {
        Locale.setDefault(Locale.ROOT); // digits are those of ASCII
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        String handshake = "{\"protocol\":2,\"name\":\"my-sgd\",\"version\":\"1.0\",\"language\":\"Java\"";
        out.print(handshake + ",\"offers\":[" + OFFERS + "]}\n");
        out.flush();
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            Map<String, Object> document = object(new Reader(line).value());
            out.print("{\"id\":\"" + document.get("id") + "\"," + outcome(document) + "}\n");
            out.flush();
        }
    }
}
