//! The programs that the generator is tested with.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use factory_spec::{BoundSpec, Spec};

/// A program in short form.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// `name min max multiple_of`, separated by commas.
    pub(crate) sizes: &'static str,
    /// `name dtype size size …`, separated by commas; `>` before the name is an output, `=` both, `$` a scalar.
    pub(crate) args: &'static str,
    pub(crate) text: &'static str,
    /// Free sizes of cases in which tails matter.
    pub(crate) cases: &'static [&'static [u64]],
}

macro_rules! programs {
    ($($name:ident ($sizes:literal) ($args:literal) [$([$($case:literal),*]),*] $text:literal;)*) => {
        pub(crate) const PROGRAMS: &[Program] = &[$(Program {
            name: stringify!($name),
            sizes: $sizes,
            args: $args,
            text: $text,
            cases: &[$(&[$($case),*]),*],
        }),*];
    };
}

programs! {
    rmsnorm ("m 1 - 1, n 8 262144 8") ("x bf16 m n, w f32 n, $eps f32, >y bf16 m n") [[3, 8], [5, 1000], [2, 4096], [1, 2056]]
        "ms = mean(x * x, n)\ny = x * rsqrt(ms + eps) * w";
    rmsnorm_plain ("m 1 - 1, n 1 - 1") ("x f16 m n, $eps f32, >y f16 m n") [[3, 1], [2, 257], [7, 64]]
        "y = x * rsqrt(mean(x * x, n) + eps)";
    rmsnorm_residual ("m 1 - 1, n 1 65536 1") ("x bf16 m n, r f32 m n, w bf16 n, $eps f32, >h f32 m n, >y bf16 m n, >rstd f32 m")
        [[3, 40], [2, 1023], [4, 512]]
        "t = x + r\nh = t\ns = rsqrt(mean(t * t, n) + eps)\nrstd = s\ny = t * s * (1 + w)";
    rmsnorm_single ("m 1 - 1, n 1 - 1") ("x f32 m n, w f32 n, $eps f32, >y f32 m n") [[3, 36], [2, 1025], [1, 4096]]
        "y = x * rsqrt(mean(x * x, n) + eps) * w";
    layernorm ("m 1 - 1, n 1 - 1") ("x bf16 m n, w f32 n, b f32 n, $eps f32, >y bf16 m n") [[3, 24], [2, 1000], [1, 3]]
        "mu = mean(x, n)\nd = x - mu\nv = mean(d * d, n)\ny = d * rsqrt(v + eps) * w + b";
    softmax ("m 1 - 1, n 1 - 1") ("x f32 m n, >y f32 m n") [[3, 8], [2, 999], [5, 1]]
        "e = exp(x - max(x, n))\ny = e / sum(e, n)";
    log_softmax ("m 1 - 1, n 1 - 1") ("x f32 m n, >y f32 m n") [[3, 32], [2, 515]]
        "s = x - max(x, n)\ny = s - log(sum(exp(s), n))";
    logsumexp ("m 1 - 1, n 1 - 1") ("x f16 m n, >y f32 m") [[33, 16], [2, 700]]
        "t = max(x, n)\ny = t + log(sum(exp(x - t), n))";
    fused ("m 1 - 1, n 1 65536 1") ("a bf16 m n, b bf16 m n, bias f32 n, >y bf16 m n") [[3, 64], [2, 333], [1, 1024]]
        "t = silu(a) * b + bias\ne = exp(t - max(t, n))\ny = e / sum(e, n)";
    gate ("m 1 - 1, n 1 - 1") ("a bf16 m n, b bf16 m n, >y bf16 m n") [[3, 64], [7, 333], [1, 8]]
        "y = silu(a) * b";
    gelu ("m 1 - 1, n 1 - 1") ("x f32 m n, >y f32 m n") [[3, 64], [2, 333]]
        "y = gelu(x)";
    row_scale ("m 1 - 1, n 1 - 1") ("x bf16 m n, >y f8e4m3 m n, >s f32 m") [[3, 64], [2, 333], [5, 16]]
        "a = max(max(abs(x), n), 1e-12)\ns = a / 448\ny = x / (a / 448)";
    float8_in ("m 1 - 1, n 1 - 1") ("x f8e5m2 m n, w f8e4m3 n, >y f16 m n") [[3, 64], [2, 35]]
        "y = x * w + sum(w * x, n)";
    argmax ("m 1 - 1, n 1 - 1") ("x bf16 m n, >i i32 m, >v bf16 m") [[3, 64], [40, 333], [5, 1]]
        "i = argmax(x, n)\nv = max(x, n)";
    masked_softmax ("m 1 - 1, n 1 - 1") ("x f32 m n, len i32 m, >y f32 m n") [[4, 64], [3, 130]]
        "keep = iota(n) <= len % n\nt = select(keep, x, -inf)\ne = exp(t - max(t, n))\ny = e / sum(e, n)";
    causal ("m 1 - 1, n 1 - 1") ("x f16 m n, >y f16 m n") [[9, 9], [4, 70]]
        "y = select(iota(n) > iota(m), 0, x * 0.125)";
    bias ("b 1 - 1, h 1 - 1, d 1 - 1") ("x f16 b h d, bias f16 d, g f32 h, >y f16 b h d") [[2, 3, 8], [2, 5, 17]]
        "y = x * g + bias";
    transposed ("m 1 - 1, n 1 - 1") ("x f32 n m, >y bf16 m n") [[3, 8], [17, 33]]
        "y = x + 1";
    middle ("b 1 - 1, h 1 - 1, d 1 - 1") ("x bf16 h b d, >y bf16 b h d") [[2, 3, 8], [4, 5, 17]]
        "y = x * 2";
    per_head ("t 1 - 1, h 1 - 1, d 1 1024 1") ("x bf16 t h d, w bf16 d, $eps f32, >y bf16 t h d") [[3, 2, 64], [2, 3, 20]]
        "y = x * rsqrt(mean(x * x, d) + eps) * w";
    two_columns ("m 1 - 1, h 1 - 1, d 1 - 1") ("x f32 m h d, w f32 d, >y f32 m h d, >z f32 m") [[3, 4, 8], [2, 3, 5]]
        "s = sum(abs(x), h, d)\nz = s\ny = x * w / (s + 1)";
    integers ("m 1 - 1, n 1 - 1") ("a i32 m n, b i8 m n, c u8 n, >y i32 m n, >z i64 m, >w i8 m n") [[3, 64], [2, 33]]
        "y = a * 3 + b - c\nz = sum(a + b, n)\nw = b + c";
    wide_integers ("m 1 - 1, n 1 - 1") ("a i64 m n, b u32 m n, >y u32 m n, >s i64 m") [[3, 16], [2, 33]]
        "y = max(a, b) % 1000\ns = max(a + b, n) + min(b, n)";
    double ("m 1 - 1, n 1 - 1") ("x f64 m n, >y f64 m n") [[3, 16], [2, 333]]
        "e = exp(x - max(x, n))\ny = e / sum(e, n) + tanh(x) * log(abs(x) + 1)";
    double_functions ("m 1 - 1, n 1 - 1") ("x f64 m n, >y f64 m n, >z f64 m n") [[3, 16], [2, 33]]
        "y = erf(x) + sigmoid(x) * 0.5\nz = sqrt(abs(x)) + rsqrt(abs(x) + 1) + exp2(x * 0.125)";
    any_all ("m 1 - 1, n 1 - 1") ("x f16 m n, >p u8 m, >q u8 m, >c i32 m") [[3, 64], [40, 13]]
        "p = cast(any(x > 2, n), u8)\nq = cast(all(x > -2, n), u8)\nc = sum(cast(x > 0, i32), n)";
    product ("m 1 - 1, n 1 - 1") ("x f32 m n, >y f32 m") [[3, 16], [2, 40]]
        "y = prod(1 + x * 0.01, n)";
    functions ("m 1 - 1, n 1 - 1") ("x f32 m n, >a f32 m n, >b f32 m n, >c f32 m n") [[3, 64], [2, 33]]
        "a = sin(x) + cos(x) + tanh(x)\nb = erf(x) + log2(abs(x) + 1) * exp2(-abs(x))\nc = floor(x) + ceil(x * 0.5) + round(x) + abs(x) ** 1.5";
    rounding ("m 1 - 1, n 1 - 1") ("x f32 m n, >y f32 m n") [[3, 64], [2, 33]]
        "y = cast(cast(x, bf16) * 3, f16) + cast(clamp(x, -2, 2), f8e4m3)";
    quantise ("m 1 - 1, n 1 - 1") ("x f32 m n, s f32 m, >q i8 m n") [[3, 64], [2, 33]]
        "q = round(x * 10 / (abs(s) + 1))";
    row_only ("m 1 - 1, n 1 - 1") ("x bf16 m n, g f32 m, >y f32 m") [[3, 64], [2, 333]]
        "y = sum(x * x, n) * g";
    in_place ("m 1 - 1, n 1 - 1") ("=x f32 m n, >s f32 m") [[3, 64], [2, 333]]
        "t = sum(abs(x), n)\ns = t\nx = x / (t + 1)";
    broadcast_out ("m 1 - 1, n 1 - 1") ("a f32 n, b f32 m, >y f32 m n, >c f32 n, >d f32 m") [[3, 64], [2, 33]]
        "y = a * b\nc = a + 1\nd = b - 1";
    argmin_double ("m 1 - 1, n 1 - 1") ("x f64 m n, >i i64 m") [[3, 64], [2, 130]]
        "i = argmin(x, n)";
    vector_softmax ("n 1 - 1") ("x bf16 n, >y bf16 n") [[64], [1001]]
        "e = exp(x - max(x, n))\ny = e / sum(e, n)";
}

/// The spec in TOML.
pub(crate) fn spec_text(program: &Program) -> String {
    let mut text = format!("[kernel]\nname = \"{}\"\n\n[sizes]\n", program.name);
    for size in program.sizes.split(',') {
        let words: Vec<&str> = size.split_whitespace().collect();
        let max = if words[2] == "-" { String::new() } else { format!("max = {}, ", words[2]) };
        writeln!(text, "{} = {{ min = {}, {max}multiple_of = {} }}", words[0], words[1], words[3])
            .expect("strings grow");
    }
    for arg in program.args.split(',') {
        let words: Vec<&str> = arg.split_whitespace().collect();
        let (name, role, scalar) = match words[0].split_at(1) {
            (">", name) => (name, "role = \"out\"\n", false),
            ("=", name) => (name, "role = \"inout\"\n", false),
            ("$", name) => (name, "values = [1e-5]\n", true),
            _ => (words[0], "", false),
        };
        writeln!(text, "\n[[arg]]\nname = \"{name}\"\ndtype = \"{}\"\n{role}", words[1])
            .expect("strings grow");
        if !scalar {
            let sizes: Vec<String> = words[2..].iter().map(|size| format!("\"{size}\"")).collect();
            writeln!(text, "shape = [{}]", sizes.join(", ")).expect("strings grow");
        }
    }
    let names: Vec<&str> =
        program.sizes.split(',').filter_map(|size| size.split_whitespace().next()).collect();
    let tables: Vec<String> = program
        .cases
        .iter()
        .map(|case| {
            let entries: Vec<String> =
                names.iter().zip(*case).map(|(name, value)| format!("{name} = {value}")).collect();
            format!("{{ {} }}", entries.join(", "))
        })
        .collect();
    let list = tables.join(", ");
    let text =
        format!("{text}\n[reference]\nprogram = '''\n{}\n'''\n\n[correct]\ncases = [{list}]\n", program.text);
    format!(
        "{text}\n[better]\nminimize = \"time\"\nover = [{list}]\n\n[targets]\narch = [\"sm_90\", \"sm_100\"]\n"
    )
}

/// The spec, bound.
pub(crate) fn bound(program: &Program) -> BoundSpec {
    bind(program.name, &spec_text(program))
}

/// The program of that name where what is read may stay in the L2 before what is written.
pub(crate) fn keeping(name: &str) -> BoundSpec {
    let program = PROGRAMS.iter().find(|program| program.name == name).expect("the program is in the table");
    let minimize = "minimize = \"time\"\n";
    bind(name, &spec_text(program).replace(minimize, &format!("{minimize}allow = [\"l2_evict_last\"]\n")))
}

/// Programs with which that is tried: rows in registers and in shared memory, a residual that is written too, and no reduction.
pub(crate) const KEEPING: [&str; 3] = ["rmsnorm", "rmsnorm_residual", "gate"];

/// A spec from TOML, bound.
pub(crate) fn bind(name: &str, text: &str) -> BoundSpec {
    let spec = Spec::parse(Path::new(&format!("{name}.toml")), text)
        .unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
    spec.bind(&BTreeMap::new()).unwrap_or_else(|error| panic!("{name}: {error}"))
}
