//! How fast the oracle is: `cargo run --release -p factory-spec --example oracle_bench [-- threads [elements]]`.
//!
//! Drawing the inputs is not part of the time.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use factory_spec::draw::{Case, draw_inputs};
use factory_spec::oracle::{OracleOptions, evaluate_with};
use factory_spec::{InputKind, Spec};

const PROGRAMS: [(&str, &str); 4] = [
    ("rmsnorm", "ms = mean(a * a, n)\ny = a * rsqrt(ms + 1e-5) * w"),
    ("softmax", "e = exp(a - max(a, n))\ny = e / sum(e, n)"),
    ("gated softmax", "z = silu(a) * b + w\ne = exp(z - max(z, n))\ny = e / sum(e, n)"),
    ("gelu", "y = gelu(a)"),
];

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>().expect("a number"));
    let threads = arguments.next().unwrap_or(2);
    let elements = arguments.next().unwrap_or(64 << 20);
    let n = 4096.min(elements);
    let m = elements / n;
    for (name, program) in PROGRAMS {
        // Only what the program reads may be declared.
        let b = if program.contains('b') && program.contains("* b") {
            "[[arg]]\nname = \"b\"\ndtype = \"bf16\"\nshape = [\"m\", \"n\"]\n"
        } else {
            ""
        };
        let w = if program.contains('w') {
            "[[arg]]\nname = \"w\"\ndtype = \"f32\"\nshape = [\"n\"]\n"
        } else {
            ""
        };
        let text = format!(
            "[kernel]\nname = \"bench\"\n[sizes]\nm = {{ min = 1 }}\nn = {{ min = 1 }}\n\
             [[arg]]\nname = \"a\"\ndtype = \"bf16\"\nshape = [\"m\", \"n\"]\n{b}{w}\
             [[arg]]\nname = \"y\"\ndtype = \"bf16\"\nshape = [\"m\", \"n\"]\nrole = \"out\"\n\
             [reference]\nprogram = '''\n{program}\n'''\n\
             [better]\nminimize = \"time\"\nover = [{{ m = {m}, n = {n} }}]\n[targets]\narch = [\"sm_90\"]\n"
        );
        let spec = Spec::parse(Path::new("bench.toml"), &text)
            .unwrap_or_else(|error| panic!("{error:?}"))
            .bind(&BTreeMap::new())
            .unwrap_or_else(|error| panic!("{error:?}"));
        let free = BTreeMap::from([("m".to_owned(), m as u64), ("n".to_owned(), n as u64)]);
        let sizes = spec.size_values(&free).expect("sizes of the domain");
        let kinds =
            BTreeMap::from([("a".to_owned(), InputKind::Uniform), ("b".to_owned(), InputKind::Uniform)]);
        let drawing = Instant::now();
        let inputs = draw_inputs(&spec, &Case { sizes: sizes.clone(), kinds, seed: 1 });
        let drawing = drawing.elapsed().as_secs_f64();
        let options = OracleOptions { threads, ..OracleOptions::default() };
        let mut best = f64::INFINITY;
        for _ in 0..3 {
            let start = Instant::now();
            let outputs = evaluate_with(&spec, &sizes, &inputs, &options).expect("an answer");
            best = best.min(start.elapsed().as_secs_f64());
            std::hint::black_box(&outputs);
        }
        println!(
            "{name}: m={m} n={n}, {threads} threads: {best:.3} s, {:.0} M elements/s (inputs drawn in {drawing:.1} s)",
            (m * n) as f64 / best / 1e6
        );
    }
}
